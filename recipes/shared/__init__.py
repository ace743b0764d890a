"""What recipes have in common. Imports nothing of traindeck but its core."""
