"""traindeck: one terminal for training with and without privacy."""

__version__ = "0.1.0"
