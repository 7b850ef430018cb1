"""The smallest computation two parties can do together."""
