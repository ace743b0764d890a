"""The list of runs: one document a run, found, queried and kept in TinyDB."""
