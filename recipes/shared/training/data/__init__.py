"""Data sets: found, fetched, checked and read."""
