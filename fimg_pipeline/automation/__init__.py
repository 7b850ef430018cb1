"""What runs by itself or at the press of a button: jobs (and, as they come, schedules and sensors)."""
