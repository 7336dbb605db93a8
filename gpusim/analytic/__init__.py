"""The closed-form engine: the twin of `sim`, without events."""
