"""From a run to production: formats, their parity and latency, bundles."""
