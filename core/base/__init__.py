"""The ground floor: files, formats, checks and names, which know nothing of runs."""
