"""Signed statements of a data set's or a run's privacy, that a stranger can check."""
