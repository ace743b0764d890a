"""The recipes, and the form that launches one."""
