"""What can be done to runs from a list of them: stop, kill, again, rename, tag, notes, delete.

Everything that touches files or processes happens on a thread; what cannot be done becomes a
notification that says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType

from traindeck.core.base.home import Home
from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.run.state import LIVE
from traindeck.tui.keys import SCREEN_KEYS, command, key_of
from traindeck.tui.screens.run.again import NAMES_SHOWN, AgainActions, named
from traindeck.tui.widgets.run_columns import age
from traindeck.tui.widgets.run_detail import command_line

TOGETHER_SECONDS = 1.0
"""Runs that followed each other into the trash no slower than this were deleted together."""

RUN_BINDINGS: list[BindingType] = [
    command("runs.stop", "s", "stop", "Stop", "Ask the run to end in good order (asks first)"),
    command(
        "runs.kill",
        "K",
        "kill",
        "Kill",
        "End the run at once, with all it started (asks first)",
        show=False,
    ),
    command("runs.again", "a", "again", "Again", "Launch the same once more, as it was"),
    command(
        "runs.again-changed",
        "L",
        "again_changed",
        "Again with…",
        "Open the launch form as the run was launched, to change some of it",
        show=False,
    ),
    command("runs.rename", "r", "rename", "Rename", "Give the run another name"),
    command("runs.tag", "t", "tag", "Tags", "Set tags; added to all when several"),
    command("runs.notes", "m", "note", "Notes", "Write notes about the run"),
    command(
        "runs.delete", "d,delete", "delete", "Delete", "Move the run to the trash (asks first)"
    ),
    command(
        "runs.restore",
        "u",
        "restore",
        "Undelete",
        "Bring back what was deleted, runs deleted together all at once",
        show=False,
    ),
    command("runs.copy-id", "c", "copy_id", "Copy id", "Copy the id", show=False),
    command(
        "runs.copy-command",
        "C",
        "copy_command",
        "Copy command",
        "Copy the command line that the run was started with",
        show=False,
    ),
]
"""The keys of `RunActions`, for the screens that have them."""


class RunActions(AgainActions, inherit_bindings=False):
    """A screen whose `targets` are the runs that the keys of `RUN_BINDINGS` act upon."""

    BINDINGS: ClassVar[list[BindingType]] = SCREEN_KEYS

    def action_stop(self) -> None:
        from traindeck.core import control
        from traindeck.tui.screens.dialogs import ConfirmDialog

        docs = self._living("stop")
        if not docs:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._each(
                    "Not stopped",
                    docs,
                    lambda doc: control.stop(Path(doc["path"])),
                    "stop sent to {}",
                )

        detail = "Asked to end, it can still write a checkpoint; it goes on only if run again."
        self.app.push_screen(ConfirmDialog(f"Stop {named(docs)}?", detail, "Stop"), answered)

    def action_kill(self) -> None:
        from traindeck.core import control
        from traindeck.tui.screens.dialogs import ConfirmDialog

        docs = self._living("kill")
        if not docs:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._each(
                    "Not killed", docs, lambda doc: control.kill(Path(doc["path"])), "killed {}"
                )

        detail = "It gets no chance to write a checkpoint. Stop asks it to end in good order."
        if all(doc["state"] == "queued" for doc in docs):
            detail = "It has not begun; it leaves the queue."
        self.app.push_screen(ConfirmDialog(f"Kill {named(docs)}?", detail, "Kill"), answered)

    def action_rename(self) -> None:
        from traindeck.core import control
        from traindeck.tui.screens.dialogs import PromptDialog

        doc = self._one("rename")
        if doc is None:
            return

        def answered(name: str | None) -> None:
            if name is not None and name != doc["name"]:
                self._each(
                    "Not renamed",
                    [doc],
                    lambda doc: control.rename(self.app.home, doc["id"], name),
                )

        dialog = PromptDialog(
            f"Another name for {doc['id']}", plain(doc["name"]), "empty: the name it began with"
        )
        self.app.push_screen(dialog, answered)

    def action_tag(self) -> None:
        from traindeck.core import control
        from traindeck.tui.screens.dialogs import PromptDialog

        docs = self.targets()
        if not docs:
            return
        several = len(docs) > 1

        def answered(text: str | None) -> None:
            if text is None:
                return
            tags = text.replace(",", " ").split()
            self._each(
                "Not tagged",
                docs,
                lambda doc: control.tag(
                    self.app.home, doc["id"], [*doc["tags"], *tags] if several else tags
                ),
            )

        what = f"Tags of {named(docs)} (these replace the old ones)"
        if several:
            what = f"Tags to add to {named(docs)}"
        value = "" if several else " ".join(plain(tag) for tag in docs[0]["tags"])
        hint = "words, such as: baseline cnn"
        self.app.push_screen(PromptDialog(what, value, hint, replace=False), answered)

    def action_note(self) -> None:
        from traindeck.core import control
        from traindeck.tui.screens.dialogs import TextDialog

        doc = self._one("write notes about")
        if doc is None:
            return

        run_id, drafts = doc["id"], self._drafts()
        value = drafts.get(run_id, doc["notes"])

        def draft(text: str | None) -> None:
            kept = {key: each for key, each in self._drafts().items() if key != run_id}
            if text is not None and text != doc["notes"]:
                kept[run_id] = text
                key = key_of(self.app, "runs.notes", "m")
                self.app.notify(f"not in the notes yet; {key} opens them as you left them")
            if kept != self._drafts():
                self.app.remember("What you wrote cannot be remembered", drafts=kept)

        def answered(text: str | None) -> None:
            if text is None:
                return
            draft(None)
            if text != doc["notes"]:
                self._each(
                    "Notes not kept",
                    [doc],
                    lambda doc: control.note(self.app.home, doc["id"], text),
                )

        self.app.push_screen(TextDialog(f"Notes on {named([doc])}", value, draft), answered)

    def _drafts(self) -> dict[str, str]:
        """Notes that were left without keeping them, by run."""
        known = self.app.remembered.get("drafts")
        return dict(known) if isinstance(known, dict) else {}

    def action_delete(self) -> None:
        from traindeck.core import control
        from traindeck.tui.screens.dialogs import ConfirmDialog

        docs = self.targets()
        if not docs:
            return
        if any(doc["state"] in LIVE for doc in docs):
            self.app.tell_problem("A run that goes on cannot be deleted: stop it first")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._each(
                    "Not deleted",
                    docs,
                    lambda doc: control.trash(self.app.home, doc["id"]),
                    "moved to the trash: {}",
                )

        key = key_of(self.app, "runs.restore", "u")
        them = "it" if len(docs) == 1 else "them"
        detail = f"Moved to {self.app.home.trash}; {key} on the list of runs brings {them} back."
        self.app.push_screen(ConfirmDialog(f"Delete {named(docs)}?", detail, "Delete"), answered)

    def action_restore(self) -> None:
        self.app.in_background(
            "The trash cannot be read", lambda: _trash(self.app.home), self._choose_restored
        )

    def _choose_restored(self, deleted: list[list[RunDoc]]) -> None:
        from traindeck.tui.screens.dialogs import ChoiceDialog

        if not deleted:
            self.app.notify("The trash is empty")
            return
        if len(deleted) == 1:
            self._restore(deleted[0])
            return

        def answered(place: str | None) -> None:
            if place is not None:
                self._restore(deleted[int(place)])

        now = self.app.clock()
        choices = [(str(place), _in_short(docs, now)) for place, docs in enumerate(deleted)]
        self.app.push_screen(ChoiceDialog("What is to come back?", choices), answered)

    def _restore(self, docs: Sequence[RunDoc]) -> None:
        from traindeck.core import control

        self.follow(docs[0]["id"])
        self._each(
            "Not restored",
            docs,
            lambda doc: control.restore(self.app.home, doc["id"]),
            "{} are back" if len(docs) > 1 else f"{{}} ({docs[0]['id']}) is back",
        )

    def action_copy_id(self) -> None:
        docs = self.targets()
        if docs:
            ids = [doc["id"] for doc in docs]
            self.app.copy("\n".join(ids), f"id {ids[0]}" if len(ids) == 1 else f"{len(ids)} ids")

    def action_copy_command(self) -> None:
        docs = self.targets()
        if docs:
            self.app.copy("\n".join(command_line(doc) for doc in docs), "command")

    def _living(self, to_do: str) -> list[RunDoc]:
        docs = self.targets()
        living = [doc for doc in docs if doc["state"] in LIVE]
        if docs and not living:
            state = docs[0]["state"].replace("_", " ")
            self.app.tell_problem(
                f"Nothing to {to_do}: {named(docs)} {'is' if len(docs) == 1 else 'are'} "
                f"{state if len(docs) == 1 else 'over'}"
            )
        return living

    def _each(
        self,
        trouble: str,
        docs: Sequence[RunDoc],
        action: Callable[[RunDoc], object],
        done: str = "",
    ) -> None:
        """Does something to each run on a thread; tells what could not be done.

        `done` is told of the others, by their names.
        """
        if not docs:
            return

        def work() -> list[tuple[RunDoc, Exception]]:
            failed: list[tuple[RunDoc, Exception]] = []
            for doc in docs:
                try:
                    action(doc)
                except Exception as error:  # told below; the others are still to be done
                    failed.append((doc, error))
            return failed

        def tell(failed: list[tuple[RunDoc, Exception]]) -> None:
            for _, error in failed[:NAMES_SHOWN]:
                self.app.tell_error(trouble, error)
            lost = {doc["id"] for doc, _ in failed}
            fine = [doc for doc in docs if doc["id"] not in lost]
            if done and fine:
                self.app.notify(done.format(named(fine)), markup=False)

        self.app.in_background(trouble, work, tell)


def _trash(home: Home) -> list[list[RunDoc]]:
    """What is in the trash, the last deleted first; what was deleted together is together."""
    from traindeck.core.catalogue.document import document
    from traindeck.core.catalogue.library import trashed
    from traindeck.core.run.folder import RunFolder

    in_trash: list[tuple[float, RunDoc]] = []
    for run_id in trashed(home):
        folder = home.trash / run_id
        doc = document(RunFolder(folder), metrics=False)
        if doc is not None:
            in_trash.append((folder.stat().st_ctime, doc))
    in_trash.sort(key=lambda each: (each[0], each[1]["id"]), reverse=True)
    deleted: list[list[RunDoc]] = []
    before = math.inf
    for when, doc in in_trash:
        if before - when > TOGETHER_SECONDS:
            deleted.append([])
        deleted[-1].append(doc)
        before = when
    # In the order of the list of runs: in which of them it began is nobody's concern.
    return [sorted(docs, key=lambda doc: doc["id"], reverse=True) for docs in deleted]


def _in_short(docs: Sequence[RunDoc], now: float) -> str:
    """A line about what was deleted together."""
    if len(docs) > 1:
        return f"{len(docs)} runs deleted together: {named(docs)}"
    doc = docs[0]
    made = age(now - doc["created"])
    return f"{doc['id']}  {plain(doc['name'])}  {doc['state']}, made {made} ago"
