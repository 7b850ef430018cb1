"""Findings: what stands in the way, and that what does not is not told as if it did."""
