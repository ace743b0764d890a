"""What a screen shows of one thing: curves, log, budget, devices, federation."""
