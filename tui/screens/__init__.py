"""One file or folder a screen, with its stylesheet beside it."""
