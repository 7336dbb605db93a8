"""The version of the package, for all rooms."""

__version__ = "0.1.0"
