"""One run trained by several processes, its ranks, on this machine."""
