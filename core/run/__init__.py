"""A run's folder: its state, points, events and origin. The truth about a run."""
