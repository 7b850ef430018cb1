"""Language models in a federation."""

__version__ = "1.2.0"
