"""Two frameworks, or two recipes, set side by side by what was measured on this machine."""
