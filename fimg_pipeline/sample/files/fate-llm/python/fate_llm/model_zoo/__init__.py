"""Ways to tune a model with few parameters."""
