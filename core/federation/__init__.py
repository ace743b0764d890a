"""What the two hands of a federation write, and read of each other, in one room."""
