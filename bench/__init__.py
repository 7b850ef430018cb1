"""Measurements: each runs what it compares side by side, and writes ratios into docs/."""
