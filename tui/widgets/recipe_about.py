"""What a recipe says about itself, and what it needs that is not installed."""

from __future__ import annotations

import shlex

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from traindeck.core.recipe import BrokenRecipe, Recipe
from traindeck.core.text import clean


class RecipeAbout(Vertical):
    """Title, facts and description at the head of a launch form."""

    DEFAULT_CSS = """
    RecipeAbout { height: auto; }
    RecipeAbout > .about-title { text-style: bold; color: $text-primary; }
    RecipeAbout > .about-facts { color: $text-muted; }
    RecipeAbout > .about-missing { color: $text-warning; display: none; }
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe

    def compose(self) -> ComposeResult:
        recipe = self.recipe
        title = Content.assemble(
            Content(clean(recipe.title)), (f"  {clean(recipe.name)}", "dim not bold")
        )
        yield Static(title, classes="about-title")
        if recipe.description:
            yield Static(Content(clean(recipe.description)), classes="about-description")
        yield Static(self._facts(), classes="about-facts")
        yield Static(classes="about-missing")

    def _facts(self) -> Content:
        recipe = self.recipe
        facts = [
            ("framework", recipe.framework),
            ("task", recipe.task),
            ("data", recipe.dataset),
            ("privacy", recipe.privacy),
            ("runs on", " ".join(recipe.devices)),
            ("tags", " ".join(f"#{tag}" for tag in recipe.tags)),
            ("from", recipe.origin),
        ]
        told = [
            Content.assemble((f"{word} ", "dim"), (clean(fact), "$foreground"))
            for word, fact in facts
            if fact
        ]
        return Content("  ").join(told)

    def show_missing(self, requirements: list[str]) -> None:
        """Say what is not installed and what installs it; nothing when all is there."""
        line = self.query_one(".about-missing", Static)
        line.display = bool(requirements)
        mend = "pip install " + " ".join(shlex.quote(need) for need in requirements)
        names = ", ".join(requirements)
        line.update(Content(f"⚠ not installed: {clean(names)}\n  mend with: {clean(mend)}"))


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
        yield Static(Content(f"{clean(str(broken.path))}, line {broken.line}"))
        yield Static(Content(clean(broken.reason)))
        yield Static("It is read again when you come back here, or press r.", classes="about-facts")
