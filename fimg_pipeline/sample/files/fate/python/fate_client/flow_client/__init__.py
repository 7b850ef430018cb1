"""Client of FATE Flow."""

__version__ = "1.11.2"
