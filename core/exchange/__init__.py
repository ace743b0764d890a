"""Other trackers' formats: what a run printed, and TensorBoard's event files."""
