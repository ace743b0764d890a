"""What a recipe says about itself, and what it needs that is not installed."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from traindeck.core.base.sanitize import clean, plain
from traindeck.core.recipe.recipe import BrokenRecipe, Recipe

_LONGEST = 1000


class RecipeAbout(Static):
    """Title, description and facts at the head of a launch form."""

    DEFAULT_CSS = """
    RecipeAbout { height: auto; }
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._missing = ("", "")
        super().__init__(self._content())

    def show(self, recipe: Recipe) -> None:
        """Say what the recipe is by now: choices can change what it spends, and of which data."""
        if recipe != self._recipe:
            self._recipe = recipe
            self.update(self._content())

    def show_missing(self, lack: str, mend: str) -> None:
        """Say what it lacks here and what mends it; nothing when all is there."""
        if (lack, mend) != self._missing:
            self._missing = (lack, mend)
            self.update(self._content())

    def _content(self) -> Content:
        lines = list(_lines(self._recipe))
        lack, mend = self._missing
        if lack:
            lines.append(
                Content.styled(
                    f"⚠ {plain(lack, _LONGEST)}"
                    + (f"\n  mend with: {plain(mend, _LONGEST)}" if mend else ""),
                    "$text-warning",
                )
            )
        return Content("\n").join(lines)


def _lines(recipe: Recipe) -> Iterator[Content]:
    yield Content.assemble(
        (plain(recipe.title), "bold $text-primary"), (f"  {plain(recipe.name)}", "dim")
    )
    if recipe.description:
        yield Content(clean(recipe.description))
    facts = [
        ("framework", recipe.framework),
        ("task", recipe.task),
        ("data", recipe.dataset),
        ("privacy", recipe.privacy),
        ("runs on", " ".join(recipe.devices)),
        ("tags", " ".join(f"#{tag}" for tag in recipe.tags)),
        ("from", recipe.origin),
    ]
    yield Content("  ").join(
        Content.assemble((f"{word} ", "dim"), plain(fact)) for word, fact in facts if fact
    )


class BrokenAbout(Vertical):
    """Why a script is not among the recipes."""

    DEFAULT_CSS = """
    BrokenAbout { height: auto; padding: 0 1; }
    BrokenAbout > Static { margin: 0 0 1 0; }
    BrokenAbout > .about-title { text-style: bold; color: $text-error; }
    """

    def __init__(self, broken: BrokenRecipe) -> None:
        super().__init__()
        self.broken = broken

    def compose(self) -> ComposeResult:
        broken = self.broken
        yield Static("This recipe's header cannot be used", classes="about-title")
        yield Static(Content(f"line {broken.line} of {plain(str(broken.path), _LONGEST)}"))
        yield Static(Content(clean(broken.reason)))
        yield Static("It is read again when you come back here, or press r.")
