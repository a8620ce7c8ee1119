"""What of the past a model sees, and what fits."""
