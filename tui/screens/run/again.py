"""Launching runs once more: as they were, or with changes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual import getters
from textual.screen import Screen

from traindeck.core.base.home import Home
from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.run.names import next_name
from traindeck.tui.host import Host

if TYPE_CHECKING:
    from traindeck.core.launch import LaunchRequest

NAMES_SHOWN = 4
MOST_UNASKED = 1
"""So many runs are launched again without asking whether all of them are meant."""


class AgainActions(Screen[None], inherit_bindings=False):
    """A screen with runs to act upon."""

    app = getters.app(Host)

    def targets(self) -> list[RunDoc]:
        """The runs to act upon: those marked, else the one under the cursor."""
        raise NotImplementedError

    def follow(self, run_id: str) -> None:
        """Puts the cursor on a run as soon as the list has it."""

    def _one(self, to_do: str) -> RunDoc | None:
        docs = self.targets()
        if len(docs) > 1:
            self.app.tell_problem(f"One run at a time: unmark all but the one to {to_do}")
            return None
        return docs[0] if docs else None

    def action_again(self) -> None:
        docs = self.targets()
        if len(docs) <= MOST_UNASKED:
            self._launch_again(docs)
            return
        from traindeck.tui.screens.dialogs import ConfirmDialog

        def answered(yes: bool | None) -> None:
            if yes:
                self._launch_again(docs)

        question = f"Launch {named(docs)} again?"
        self.app.push_screen(ConfirmDialog(question, f"{len(docs)} runs", "Launch"), answered)

    def _launch_again(self, docs: Sequence[RunDoc]) -> None:
        home = self.app.home

        def launch_again(run_id: str, name: str) -> RunDoc:
            from traindeck.core.again import again
            from traindeck.core.launch import launch

            return launch(home, again(home, run_id, {}, name=name))

        taken = self._taken()
        for doc in docs:
            name = next_name(doc["name"], taken)
            taken.add(name)
            self.app.in_background(
                f"{plain(doc['name'])} was not launched again",
                partial(launch_again, doc["id"], name),
                partial(self._launched, of=doc),
            )

    def _taken(self) -> set[str]:
        """The names that runs have."""
        snapshot = self.app.snapshot
        return {doc["name"] for doc in snapshot.runs} if snapshot else set()

    def action_again_changed(self) -> None:
        doc = self._one("launch again with changes")
        if doc is None:
            return
        home, name = self.app.home, next_name(doc["name"], self._taken())

        def read() -> LaunchRequest:
            from traindeck.core.again import again

            return again(home, doc["id"], {}, name=name)

        self.app.in_background(
            f"{plain(doc['name'])} cannot be launched again", read, partial(self._change, of=doc)
        )

    def _change(self, request: LaunchRequest, of: RunDoc) -> None:
        """A recipe's form is opened; of a command or a plain script its line is asked for."""
        from traindeck.tui.screens.dialogs import PromptDialog

        if request.recipe is not None and request.recipe.params:
            self.app.open_form(request, plain(of["name"]))
            return

        def answered(line: str | None) -> None:
            if line is not None:
                self.app.in_background(
                    f"{plain(of['name'])} was not launched again",
                    lambda: _launch_line(self.app.home, request, line),
                    partial(self._launched, of=of),
                )

        script = [str(request.recipe.path)] if request.recipe else []
        dialog = PromptDialog(
            f"Again, with which {'line' if script else 'command'}? "
            f"It will be called {plain(request.name or '')}",
            shlex.join([*script, *request.arguments] if script else request.command),
            check=partial(_not_a_line, script=script),
            replace=False,
        )
        self.app.push_screen(dialog, answered)

    def _launched(self, doc: RunDoc, of: RunDoc) -> None:
        self.follow(doc["id"])
        again = f"{plain(of['name'])} ({of['id']}) launched again as {doc['id']}"
        self.app.notify(again, markup=False)


def _not_a_line(line: str, script: Sequence[str]) -> str | None:
    try:
        words = shlex.split(line)
    except ValueError as error:
        return f"this is no command line: {error}"
    if script and words[:1] != [*script]:
        return f"the line begins with {shlex.quote(script[0])}"
    return None if words else "there is no command to run"


def _launch_line(home: Home, request: LaunchRequest, line: str) -> RunDoc:
    """Launch a script with the words behind it, or another command."""
    from dataclasses import replace

    from traindeck.core.launch import launch

    words = tuple(shlex.split(line))
    if request.recipe is not None:
        return launch(home, replace(request, arguments=words[1:]))
    return launch(home, replace(request, command=words))


def named(docs: Sequence[RunDoc]) -> str:
    """The runs by name, as in `mnist, digits and 3 more`."""
    names = [plain(doc["name"]) for doc in docs[:NAMES_SHOWN]]
    more = len(docs) - len(names)
    if more:
        return f"{', '.join(names)} and {more} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
