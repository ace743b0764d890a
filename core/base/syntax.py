"""Other people's Python, read and never run."""

from __future__ import annotations

import ast
import warnings


def syntax_tree(source: str | bytes) -> ast.Module | None:
    """What a script says; None where it is no Python. Its warnings are for its author."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
