"""What this machine can train on: found, measured, and asked for."""
