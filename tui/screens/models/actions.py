"""What can be done to models: export, serve, stop, promote, roll back, label, delete.

Everything that touches files or processes happens on a thread; what cannot be done becomes a
notification that says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import getters
from textual.binding import BindingType

from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.models.shelf import STABLE, Shelf
from traindeck.core.run.state import LIVE
from traindeck.core.serving import Address, awaited
from traindeck.tui.host import Host
from traindeck.tui.keys import SCREEN_KEYS, command, key_of
from traindeck.tui.readers.models import ModelWatch, Version, exportable
from traindeck.tui.screens.watching import WatchingScreen

CANARY = "canary"
MOST_OFFERED = 100
"""So many runs at most are offered for an export, the newest ones."""
_OTHER = "\0other"

MODEL_BINDINGS: list[BindingType] = [
    command("models.export", "ctrl+e", "export", "Export", "Make a model of a finished run"),
    command("models.serve", "H", "serve", "Serve", "Serve the model under the cursor"),
    command("models.stop", "s", "stop", "Stop", "End its server in good order (asks first)"),
    command("models.open", "J", "open", "Server", "Watch the run that serves it"),
    command("models.promote", "Y", "promote", "Promote", "Have `stable` stand for it"),
    command("models.back", "Z", "roll_back", "Roll back", "Put `stable` back where it was before"),
    command("models.label", "t", "label", "Label", "Give it a label, or take one away"),
    command("models.delete", "d,delete", "delete", "Delete", "Move it to the trash (asks first)"),
    command(
        "models.restore", "u", "restore", "Undelete", "Bring back what was deleted", show=False
    ),
]
"""The keys of `ModelActions`."""
_NEED_OWN = {"promote", "roll_back", "label", "delete"}
_NEED_SERVER = {"open", "stop"}


class ModelActions(WatchingScreen[ModelWatch], inherit_bindings=False):
    """A screen whose `current` is the version that the keys of `MODEL_BINDINGS` act upon."""

    BINDINGS: ClassVar[list[BindingType]] = SCREEN_KEYS

    app = getters.app(Host)

    @property
    def current(self) -> Version | None:
        """The version under the cursor."""
        raise NotImplementedError

    def look(self, key: str = "") -> None:
        """Have the models read at once, and the cursor put on one when it is there."""

    def follow(self, doc: RunDoc) -> None:
        """Tell how an export ends."""

    def other_servers(self) -> bool:
        """Whether something is served already."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in _NEED_OWN:
            return self.current is not None and self.current.own
        if action in _NEED_SERVER:
            return self.current is not None and self.current.server is not None
        return True

    # Exporting and serving

    def action_export(self) -> None:
        snapshot = self.app.snapshot
        ended = [doc for doc in snapshot.runs if doc["state"] not in LIVE] if snapshot else []
        self.app.in_background("The runs cannot be read", partial(exportable, ended), self._choose)

    def _choose(self, docs: list[RunDoc]) -> None:
        from traindeck.tui.screens.dialogs import ChoiceDialog

        if not docs:
            self.app.tell_problem(
                "No run has left a servable yet: the built-in recipes that train do so at their end"
            )
            return
        by_id = {doc["id"]: doc for doc in docs[:MOST_OFFERED]}

        def answered(run_id: str | None) -> None:
            if run_id is not None:
                self._export(by_id[run_id])

        choices = [(id, f"{id}  {plain(doc['name'])}  {doc['state']}") for id, doc in by_id.items()]
        self.app.push_screen(ChoiceDialog("Which run is to be exported?", choices), answered)

    def _export(self, doc: RunDoc) -> None:
        from traindeck.tui.screens.models.form import ask_export

        ask_export(self.app, doc, self._exporting)

    def _exporting(self, doc: RunDoc) -> None:
        self.follow(doc)
        self.app.notify(f"{plain(doc['name'])} goes on as run {doc['id']}", markup=False)

    def tell_exported(self, doc: RunDoc) -> None:
        """How an export ended that was asked for here."""
        from traindeck.core.run.artifacts import artifacts
        from traindeck.core.serving import last_words

        run = Path(doc["path"])

        def look() -> tuple[str, str]:
            made = artifacts(run, "bundle")
            place = Path(made[-1]["path"]) if made else None
            key = f"{place.parent.name}/{place.name}" if place else ""
            return key, "" if doc["state"] == "finished" else last_words(run)

        def tell(said: tuple[str, str]) -> None:
            key, why = said
            if key:
                self.look(key)
                self.app.notify(f"{key} is there", markup=False)
            if why:
                self.app.tell_problem(f"{plain(doc['name'])} has {doc['state']}: {why}")

        self.app.in_background("How the export ended cannot be told", look, tell)

    def action_serve(self) -> None:
        from traindeck.tui.screens.models.form import ask_serve

        version = self.current
        model = version.name if version is not None and version.own else ""
        ask_serve(self.app, model, self.other_servers(), self._served)

    def _served(self, doc: RunDoc) -> None:
        def tell(there: Address) -> None:
            self.look()
            for model, why in there["problems"].items():
                self.app.tell_problem(f"{plain(model)} is not served: {plain(why, 500)}")
            if there["ready"]:
                self.app.notify(f"{plain(doc['name'])}: ready at {there['http']}", markup=False)

        self.app.in_background(
            f"{plain(doc['name'])} does not serve", partial(awaited, Path(doc["path"])), tell
        )

    def action_open(self) -> None:
        version = self.current
        if version is not None and version.server is not None:
            self.app.open_runs([version.server.run])

    def action_stop(self) -> None:
        from traindeck.core import control
        from traindeck.tui.screens.dialogs import ConfirmDialog

        version = self.current
        if version is None or version.server is None or version.server.state not in LIVE:
            self.app.tell_problem("Nothing to stop: no server has it")
            return
        server = version.server

        def answered(yes: bool | None) -> None:
            if yes:
                self._do(
                    "Not stopped",
                    lambda: control.stop(self.app.home.runs / server.run),
                    f"stop sent to {server.run}: what has come is answered first",
                )

        others = f" It serves {server.serves} versions." if server.serves > 1 else ""
        detail = f"Run {server.run} at {server.http or 'no address yet'}.{others}"
        question = f"Stop the server of {version.key}?"
        self.app.push_screen(ConfirmDialog(question, detail, "Stop"), answered)

    # Labels and the trash

    def _do(self, trouble: str, action: Callable[[], object], done: str = "") -> None:
        """Does something on a thread, then looks anew."""

        def then(_: object) -> None:
            self.look()
            if done:
                self.app.notify(done, markup=False)

        self.app.in_background(trouble, action, then)

    @property
    def _shelf(self) -> Shelf:
        return Shelf(self.app.home)

    def action_promote(self) -> None:
        if (version := self.current) is not None:
            self._put(version, STABLE)

    def _put(self, version: Version, word: str) -> None:
        self._do(
            "Not labelled",
            lambda: self._shelf.label(version.name, word, version.number),
            f"{word} is {version.key}: served at /labels/{word}, and alone by --versions stable"
            if word == STABLE
            else f"{word} is {version.key}: served at /labels/{word}",
        )

    def action_roll_back(self) -> None:
        version = self.current
        if version is None:
            return

        def then(number: int) -> None:
            self.look(f"{version.name}/{number}")
            self.app.notify(f"{STABLE} is {version.name}/{number} again", markup=False)

        self.app.in_background(
            "Not rolled back", lambda: self._shelf.roll_back(version.name, STABLE), then
        )

    def action_label(self) -> None:
        from traindeck.tui.screens.dialogs import ChoiceDialog, PromptDialog

        version = self.current
        if version is None:
            return

        def take_away(word: str) -> None:
            self._do(
                "The label stays",
                lambda: self._shelf.label(version.name, word, None),
                f"{version.name} has no label {word} any more",
            )

        def typed(word: str | None) -> None:
            if word is not None and word.strip():
                self._put(version, word.strip())

        def answered(choice: str | None) -> None:
            if choice == _OTHER:
                self.app.push_screen(PromptDialog(f"Another label for {version.key}"), typed)
            elif choice is not None and choice.startswith("-"):
                take_away(choice[1:])
            elif choice is not None:
                self._put(version, choice)

        choices = [
            (word, f"{word}: {version.key}")
            for word in (STABLE, CANARY)
            if word not in version.labels
        ]
        choices += [(f"-{word}", f"take {word} away") for word in version.labels]
        choices.append((_OTHER, "another word …"))
        self.app.push_screen(ChoiceDialog(f"Label {version.key}", choices), answered)

    def action_delete(self) -> None:
        from traindeck.tui.screens.dialogs import ConfirmDialog

        version = self.current
        if version is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._do(
                    "Not deleted",
                    lambda: self._shelf.trash(version.name, version.number),
                    f"moved to the trash: {version.key}",
                )

        key = key_of(self.app, "models.restore", "u")
        detail = f"Moved to {self.app.home.trash / 'models'}; {key} brings it back."
        if version.state:
            detail += " A server has it: that lets go of it, and serves the highest that is left."
        self.app.push_screen(ConfirmDialog(f"Delete {version.key}?", detail, "Delete"), answered)

    def action_restore(self) -> None:
        self.app.in_background(
            "The trash cannot be read", lambda: self._shelf.trashed(), self._choose_restored
        )

    def _choose_restored(self, there: list[tuple[str, int]]) -> None:
        from traindeck.tui.screens.dialogs import ChoiceDialog

        if not there:
            self.app.notify("No model is in the trash")
            return

        def answered(place: str | None) -> None:
            if place is not None:
                self._bring_back(*there[int(place)])

        if len(there) == 1:
            self._bring_back(*there[0])
            return
        choices = [(str(at), f"{name}/{number}") for at, (name, number) in enumerate(there)]
        self.app.push_screen(ChoiceDialog("What is to come back?", choices), answered)

    def _bring_back(self, name: str, number: int) -> None:
        self.look(f"{name}/{number}")
        self._do(
            "Not restored",
            lambda: self._shelf.restore(name, number),
            f"{name}/{number} is back",
        )
