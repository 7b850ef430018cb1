"""Tables in partitions."""
