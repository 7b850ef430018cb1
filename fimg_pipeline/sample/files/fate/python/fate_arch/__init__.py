"""What every component of the sample shares."""
