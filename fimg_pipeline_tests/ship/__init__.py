"""Tests of ``ship/``: pure ones with archives as engines write them, made by hand."""
