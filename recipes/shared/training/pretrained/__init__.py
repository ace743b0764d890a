"""Others' weights: where they are found, what they say of a record, kept for the next run."""
