"""What the command palette finds beside commands: runs, recipes and data sets, by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from textual.command import Hit, Hits, Provider
from textual.content import Content

from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.tui.host import Host

MOST_RUNS = 30
"""Runs offered for one query, the newest first."""
LEAST_LETTERS = 2


class ThingsProvider(Provider):
    """Each word of the query must be in the name, id, recipe or a tag of a run, or in the name of a
    recipe or data set."""

    async def startup(self) -> None:
        app = self._host
        self._recipes: list[tuple[str, str]] = []
        self._datasets: list[str] = []
        if app is not None:
            self._recipes, self._datasets = await asyncio.to_thread(_named, app)

    @property
    def _host(self) -> Host | None:
        app = self.app
        return app if isinstance(app, Host) else None

    async def search(self, query: str) -> Hits:
        app, words = self._host, query.casefold().split()
        if app is None or len(query.strip()) < LEAST_LETTERS:
            return
        for name, title in self._recipes:
            if _has(words, f"recipe {name} {title}"):
                yield self._hit(query, f"recipe {name}", title, partial(app.show_recipe, name))
        for name in self._datasets:
            if _has(words, f"data set {name}"):
                text = "its privacy budget"
                yield self._hit(query, f"data set {name}", text, partial(app.show_budget, name))
        count = 0
        for doc in app.snapshot.runs if app.snapshot else ():
            if _has(words, _text(doc)):
                count += 1
                if count > MOST_RUNS:
                    break
                title = f"run {plain(doc['name'])}  {doc['id']}"
                text = f"{doc['state'].replace('_', ' ')}, {plain(doc['recipe'] or 'a command')}"
                yield self._hit(query, title, text, partial(app.open_runs, [doc["id"]]))

    def _hit(self, query: str, title: str, text: str, action: Callable[[], object]) -> Hit:
        async def run() -> None:
            result = action()
            if isinstance(result, Awaitable):
                await result

        # Measured as commands are: what has the letters in one piece comes before what merely has
        # them; what has them in its tags alone comes last.
        score = self.matcher(query).match(title) or 1.0
        return Hit(score, Content(title), run, title, plain(text))


def _has(words: Iterable[str], text: str) -> bool:
    text = text.casefold()
    return all(word in text for word in words)


def _text(doc: RunDoc) -> str:
    return " ".join(("run", doc["name"], doc["id"], doc["recipe"] or "", *doc["tags"]))


def _named(app: Host) -> tuple[list[tuple[str, str]], list[str]]:
    """Names and titles of all recipes, names of all data sets with a budget. Reads files."""
    from traindeck.core.privacy.ledger.ledgers import ledgers
    from traindeck.core.recipe.find import shelf

    try:
        recipes = [(recipe.name, plain(recipe.title)) for recipe in shelf(app.home)[0]]
        return recipes, [ledger.name for ledger in ledgers(app.home.ledger)]
    except OSError:
        return [], []
