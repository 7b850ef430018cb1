"""The sample's algorithms."""
