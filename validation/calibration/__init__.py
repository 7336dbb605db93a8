"""The measured rows that the shipped profiles' constants are fitted to, a file a GPU."""
