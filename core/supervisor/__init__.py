"""The process beside each run, which starts, samples, stops and records it."""
