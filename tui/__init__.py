"""The face: the app and its screens, the commands, and what both read."""
