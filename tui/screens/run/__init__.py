"""The screen of one run, or of several laid over each other."""
