"""Recipes: their headers and parameters, and where scripts are found."""
