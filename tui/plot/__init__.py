"""Curves in a terminal: the series store, the rasteriser and the Chart widget.

This package imports numpy (0.2 s, 30 MB): screens import it when they first show a curve, never at
the top of a module that is loaded before the first paint.
"""
