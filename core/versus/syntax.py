"""How much of a recipe there is to read, counted from its syntax tree. Standard library only."""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass

from traindeck.core.base.errors import UsageError

FRAMEWORKS = {
    "torch": ("torch", "opacus"),
    "tensorflow": ("tensorflow", "keras"),
    "syft": ("syft", "syft_rds", "torch"),
}
"""The packages whose names must be known to read a recipe of this framework."""

_SILENT = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.ENCODING,
)


@dataclass(frozen=True, slots=True)
class Count:
    """Lines that do something (no header, comment, docstring, blank), and the framework's names."""

    lines: int
    names: tuple[str, ...]


def count(source: str, packages: tuple[str, ...]) -> Count:
    """Count a script. Raises UsageError where it is no Python."""
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError) as error:
        raise UsageError(f"it cannot be read as Python: {error}") from None
    told = _docstrings(tree)
    lines = {
        line
        for token in tokens
        if token.type not in _SILENT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return Count(len(lines - told), tuple(sorted(_names(tree, packages))))


def _docstrings(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            lines |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def _names(tree: ast.AST, packages: tuple[str, ...]) -> set[str]:
    """Full names of what is taken from the packages: `torch.nn.Linear`; only the longest of each.

    A method of a value that a package made (`loss.backward`) is not among them: what a value is
    cannot be told from the tree.
    """
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in packages:
                    as_written = alias.name if alias.asname else alias.name.partition(".")[0]
                    known[alias.asname or as_written] = as_written
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            if module.partition(".")[0] in packages:
                for alias in node.names:
                    known[alias.asname or alias.name] = f"{module}.{alias.name}"
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, _, rest = _dotted(node).partition(".")
            if first in known:
                found.add(f"{known[first]}.{rest}" if rest else known[first])
    return {
        name for name in found if not any(other.startswith(name + ".") for other in found - {name})
    }


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""
