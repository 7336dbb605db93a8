"""The closed-form engine: the twin of `sim`, thousands of times cheaper."""
