"""Jobs described in Python."""
