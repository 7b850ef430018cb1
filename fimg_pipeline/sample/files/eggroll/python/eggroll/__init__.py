"""Eggroll's Python part."""

__version__ = "2.5.1"
