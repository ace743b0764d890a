"""The recipes, grouped by framework, narrowed by a fuzzy filter; broken ones in their own group."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from traindeck.core.base.sanitize import plain
from traindeck.core.recipe.recipe import BrokenRecipe, Recipe
from traindeck.tui.host import Host
from traindeck.tui.keys import LIST_KEYS
from traindeck.tui.widgets.line_list import LineList

FRAMEWORK_TITLES = {
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "syft": "PySyft",
    "other": "Other",
}

_REASON_CELLS = 64
"""The list shows so much of why a recipe is broken; the pane beside it shows all."""


@dataclass(frozen=True, slots=True)
class Match:
    """How well a text fits a filter (more is better) and which characters of it did."""

    score: float
    at: tuple[int, ...] = ()


def fuzzy(query: str, text: str) -> Match | None:
    """Match the letters of `query`, in order, against `text`; None when they are not all there.

    Takes time proportional to the length of the text, whatever either holds: recipe headers are
    not trusted. A run of letters in one piece beats one that begins a word beats scattered ones.
    """
    query, lowered = query.casefold(), text.casefold()
    if len(lowered) != len(text):  # a few characters fold into two: places would be off
        lowered = text.lower() if len(text.lower()) == len(text) else text
    whole = lowered.find(query)
    if whole >= 0:
        begins = whole == 0 or not lowered[whole - 1].isalnum()
        return Match(3.0 if begins else 2.0, tuple(range(whole, whole + len(query))))
    places: list[int] = []
    start = 0
    for letter in query:
        at = lowered.find(letter, start)
        if at < 0:
            return None
        places.append(at)
        start = at + 1
    return Match(len(places) / (places[-1] - places[0] + 1), tuple(places))


def match_recipe(query: str, recipe: Recipe) -> Match | None:
    """Match every word of the filter against the name, the tags, or what else is known.

    The characters returned are those of the name, to be lit up in it.
    """
    score, lit = 0.0, set[int]()
    spends = [word for form in recipe.forms() for word in (form.dataset, form.privacy)]
    known = " ".join([*recipe.tags, recipe.framework, *spends, recipe.task, recipe.title])
    for word in query.split():
        in_name = fuzzy(word, recipe.name)
        elsewhere = re.search(re.escape(word), known, re.IGNORECASE)
        if in_name is not None and (in_name.score > 1 or elsewhere is None):
            score += 2 * in_name.score
            lit.update(in_name.at)
        elif elsewhere is not None:
            score += 1
        else:
            return None
    return Match(score, tuple(sorted(lit)))


_LEAVE = ("screen.enter_form", "filter")


class RecipeOptions(LineList, inherit_bindings=False):
    """The list itself. A key to the form or the filter makes it keep all that is typed after it.

    A terminal can deliver many keys at once, and every one of them goes to the widget that has the
    focus by then: without this, those meant for what is gone to would be lost on the list.
    """

    BINDING_GROUP_TITLE = "List of recipes"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter,tab,right",
            "screen.enter_form",
            "To the form",
            id="recipes.open",
            tooltip="From the list to the form of the recipe under the cursor",
        ),
        *LIST_KEYS,
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._holding = False
        self._opening = 0
        self._held: list[events.Key] = []

    def on_key(self, event: events.Key) -> None:
        if self._holding:
            event.stop()
            self._held.append(events.Key(event.key, event.character))
            return
        active = self.screen.active_bindings.get(event.key)
        self._holding = active is not None and active.binding.action in _LEAVE
        if self._holding:
            self._opening += 1
            self.post_message(Host.KeyTaken(partial(self._unopened, self._opening)))

    async def _unopened(self, opening: int) -> None:
        """The key has been taken by now: by another screen or field, if no form was opened."""
        if self._holding and opening == self._opening:
            await self.release()

    async def release(self) -> None:
        """Type what was kept wherever the focus is now. For actions: the app takes no key then."""
        await _handled(self)
        held, self._held = self._held, []
        self._holding = False
        for key in held:
            await self._press(key)

    async def _press(self, key: events.Key) -> None:
        """What a key does, done when this returns; the ordinary way, it takes many messages."""
        target = self.app.focused
        if target is not None:
            await _handled(target)  # having got the focus, for one: that selects the text
            if target.check_consume_key(key.key, key.character):
                await target._dispatch_message(key)
                return
        if not await self.app._check_bindings(key.key, priority=True):
            await self.app._check_bindings(key.key)


async def _handled(widget: Widget) -> None:
    """Waits until a widget has dealt with all that it was sent."""
    while widget.is_running and widget.message_queue_size:
        await asyncio.sleep(0)


class RecipeList(Vertical):
    """A filter above the list of recipes.

    Posts `Highlighted` as the cursor moves and `Chosen` on a click.
    """

    DEFAULT_CSS = """
    RecipeList { height: 1fr; }
    RecipeList > Input {
        border: none; height: 1; padding: 0 1; margin: 0 0 1 0; background: $surface;
    }
    RecipeList > Input:focus { border: none; background-tint: $foreground 12%; }
    RecipeList > OptionList {
        height: 1fr; border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1;
    }
    RecipeList > OptionList:focus { border: none; background-tint: $foreground 0%; }
    RecipeList > OptionList > .option-list--option { padding: 0 1; }
    RecipeList > OptionList > .option-list--option-disabled {
        color: $text-accent; text-style: bold;
    }
    RecipeList > OptionList:ansi > .option-list--option-highlighted {
        background: ansi_blue; color: ansi_bright_white;
    }
    RecipeList > #no-recipes { color: $text-muted; padding: 0 1; display: none; }
    RecipeList.-empty > #no-recipes { display: block; height: 1fr; }
    RecipeList.-empty > OptionList { display: none; }
    """

    class Highlighted(Message):
        """The cursor came to stand on another recipe, or on nothing: `current` tells which."""

    class Chosen(Message):
        pass

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.recipes: list[Recipe] = []
        self.broken: list[BrokenRecipe] = []
        self._shown: dict[str, Recipe | BrokenRecipe] = {}
        self._current: str | None = None
        self._loaded = False

    def compose(self) -> ComposeResult:
        yield Input(placeholder="/ filter by name, tag, data set…", id="recipe-filter")
        yield RecipeOptions(id="recipe-options")
        yield Static(id="no-recipes")

    @property
    def options(self) -> RecipeOptions:
        return self.query_one("#recipe-options", RecipeOptions)

    @property
    def current(self) -> Recipe | BrokenRecipe | None:
        """What the cursor stands on at this moment: messages tell it later."""
        option = self.options.highlighted_option
        return self._shown.get(option.id) if option is not None and option.id else None

    @property
    def filter(self) -> Input:
        return self.query_one("#recipe-filter", Input)

    def load(self, recipes: Sequence[Recipe], broken: Sequence[BrokenRecipe]) -> None:
        """Show these, keeping the filter and, if it is still there, the recipe under the cursor."""
        self.recipes, self.broken = list(recipes), list(broken)
        self._loaded = True
        self._fill(keep=True)

    def named(self, name: str) -> Recipe | None:
        """The recipe of this name, if it is on the shelf."""
        return next((recipe for recipe in self.recipes if recipe.name == name), None)

    def select(self, name: str) -> None:
        """Put the cursor on a recipe, now or once the recipes are read."""
        self._current = f"recipe:{name}"
        if self.filter.value:
            self.filter.value = ""
        elif self._loaded:
            self._fill(keep=True)

    @on(Input.Changed, "#recipe-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        event.stop()
        if self._loaded:
            self._fill(keep=not event.value.strip())

    @on(Input.Submitted, "#recipe-filter")
    def _filter_done(self, event: Input.Submitted) -> None:
        event.stop()
        self.options.focus()

    def on_key(self, event: events.Key) -> None:
        if not self.filter.has_focus:
            return
        if event.key == "down":
            event.stop()
            self.options.focus()
        elif event.key == "escape" and self.filter.value:
            event.stop()
            self.filter.value = ""

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_id is not None and event.option_id in self._shown:
            self._current = event.option_id
            self.post_message(self.Highlighted())

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen())

    def _fill(self, *, keep: bool) -> None:
        query = self.filter.value.strip()
        options, best = self._options_for(query)
        self.set_class(not self._shown, "-empty")
        self.query_one("#no-recipes", Static).update(Content(self._why_empty(query)))
        self.options.set_options(options)
        if not self._shown:
            self._current = None
            self.post_message(self.Highlighted())
            return
        aim = self._current if keep and self._current in self._shown else best
        self.options.highlighted = self.options.get_option_index(aim) if aim else None

    def _why_empty(self, query: str) -> str:
        if query:
            return f"Nothing fits {plain(query)!r}. Escape clears the filter."
        return (
            "No recipes found. A script with a recipe header in ./recipes is listed here; without"
            " one: traindeck run -- python train.py"
        )

    def _options_for(self, query: str) -> tuple[list[Option | None], str | None]:
        """The rows for a filter, groups in order of their best match, and the best row's id."""
        groups: dict[str, list[tuple[float, Recipe, Match]]] = {}
        for recipe in self.recipes:
            match = match_recipe(query, recipe)
            if match is not None:
                groups.setdefault(recipe.framework, []).append((match.score, recipe, match))
        order = [name for name in FRAMEWORK_TITLES if name in groups]
        order.sort(key=lambda name: -max(score for score, _, _ in groups[name]))
        self._shown = {}
        options: list[Option | None] = []
        for framework in order:
            self._heading(options, FRAMEWORK_TITLES[framework], len(groups[framework]))
            for _, recipe, match in sorted(groups[framework], key=lambda entry: -entry[0]):
                key = f"recipe:{recipe.name}"
                self._shown[key] = recipe
                options.append(Option(recipe_prompt(recipe, match), id=key))
        broken = [item for item in self.broken if not query or fuzzy(query, item.path.name)]
        if broken:
            self._heading(options, "Broken", len(broken))
            for item in broken:
                key = f"broken:{item.path}"
                self._shown[key] = item
                options.append(Option(broken_prompt(item), id=key))
        return options, next(iter(self._shown), None)

    def _heading(self, options: list[Option | None], title: str, count: int) -> None:
        gap = "\n" if options else ""
        heading = Content.assemble(gap, title, (f"  {count}", "dim not bold"))
        options.append(Option(heading, disabled=True))


def recipe_prompt(recipe: Recipe, match: Match) -> Content:
    """Two lines: the name with its tags, and the title."""
    name = Content.styled(plain(recipe.name), "bold")
    if len(name) == len(recipe.name):
        for at in match.at:
            name = name.stylize("underline $text-accent", at, at + 1)
    tags = "".join(f" #{plain(tag)}" for tag in recipe.tags)
    return Content.assemble(name, (tags, "dim"), "\n  ", Content.styled(plain(recipe.title), "dim"))


def broken_prompt(item: BrokenRecipe) -> Content:
    """The file with the line, and the beginning of the reason."""
    place = f"✗ {plain(item.path.name)}:{item.line}"
    reason = Content(plain(item.reason)).truncate(_REASON_CELLS, ellipsis=True).stylize("dim")
    return Content.assemble((place, "$text-error"), "\n  ", reason)
