"""An approved script, run in a sandbox on an owner's data."""
