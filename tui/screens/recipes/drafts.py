"""What was typed into each recipe's form: kept, and written down a moment after the last edit."""

from __future__ import annotations

from collections.abc import Callable

from textual.timer import Timer

from traindeck.core.recipe.recipe import Recipe
from traindeck.tui.host import Host
from traindeck.tui.readers.drafts import Draft, read_drafts, remember
from traindeck.tui.widgets.recipe_form import RecipeForm

_REMEMBER_AFTER = 0.5
"""Seconds without an edit before what was typed is written down."""


class Drafts:
    """The drafts of all recipes, those of last time among them once they are read."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._drafts: dict[str, Draft] = {}
        self._unsaved: set[str] = set()
        self._timer: Timer | None = None

    def read(self, done: Callable[[], object]) -> None:
        """Read those of last time, then call `done`."""

        def add_older(drafts: dict[str, Draft]) -> None:
            self._drafts = drafts | self._drafts
            done()

        home = self._host.home
        self._host.in_background(
            "What was typed last time cannot be read", lambda: read_drafts(home), add_older
        )

    def of(self, recipe: Recipe) -> Draft:
        return self._drafts.get(recipe.name, Draft())

    def keep(self, form: RecipeForm) -> None:
        """A form that repeats a run leaves what was typed for the recipe as it was."""
        draft = form.draft()
        if form.repeats or draft == self.of(form.recipe):
            return
        self._drafts[form.recipe.name] = draft
        self._unsaved.add(form.recipe.name)
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._host.set_timer(_REMEMBER_AFTER, self.save)

    def save(self) -> None:
        """Write down what has not been so far."""
        home, unsaved = self._host.home, sorted(self._unsaved)
        self._unsaved.clear()
        if unsaved:
            self._host.in_background(
                "What was typed cannot be remembered",
                lambda: remember(home, self._drafts, unsaved),
            )
