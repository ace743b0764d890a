"""Series that were computed from private training data, and that no epsilon covers.

A private run releases its model, not the losses and gradient norms it saw on the way: whoever
sees these learns more than the run's epsilon says. Recipes name them `private/…`; they are for
whoever may see the data, and are left out of what is passed on.
"""

from __future__ import annotations

from collections.abc import Iterable

from traindeck.core.run.series import is_private

__all__ = ["is_private", "public"]


def public(names: Iterable[str]) -> list[str]:
    """Those series that may be passed on."""
    return [name for name in names if not is_private(name)]
