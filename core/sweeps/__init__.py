"""Searches over parameters: what is tried, what it costs, and who keeps it going."""
