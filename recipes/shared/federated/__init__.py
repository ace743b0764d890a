"""Training over several owners' data, none of which leaves its owner."""
