"""Flower's processes, run as they would be on several machines."""
