"""What the reader of a run has found, handed to the panels of its screen."""

from __future__ import annotations

from collections.abc import Sequence, Set

from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.differences import differences
from traindeck.tui.panels.differences import DifferencesPanel
from traindeck.tui.panels.events import EventsPanel
from traindeck.tui.panels.federation import FederationPanel
from traindeck.tui.panels.log import LogPanel
from traindeck.tui.panels.media import MediaPanel
from traindeck.tui.panels.privacy import PrivacyPanel
from traindeck.tui.panels.provenance import ProvenancePanel
from traindeck.tui.panels.run_devices import RunDevicesPanel
from traindeck.tui.panels.summary import SummaryPanel
from traindeck.tui.readers.picture import Picture, RunState
from traindeck.tui.screens.run.actions import RunActions


def show_details(screen: RunActions, picture: Picture, visible: Set[str]) -> None:
    """Show a single run's picture in those of the screen's panels that are `visible`."""
    [run] = picture.runs
    doc = run.doc
    screen.query_one(SummaryPanel).show(
        doc,
        headline=_headline(run),
        elapsed=doc["seconds"] if doc else None,
        deleted=run.deleted,
        problem=run.problem or picture.problem,
    )
    if "log" in visible:
        screen.query_one(LogPanel).show(picture.log, run_state=doc["state"] if doc else "")
    if "devices" in visible:
        screen.query_one(RunDevicesPanel).show(
            picture.devices,
            device=doc["device"] if doc else "",
            live=run.live,
            now=screen.app.clock(),
        )
    if "events" in visible:
        screen.query_one(EventsPanel).show(picture.events, screen.app.home.runs / run.id)
    if "media" in visible:
        screen.query_one(MediaPanel).show(picture.media)
    if "federation" in visible:
        screen.query_one(FederationPanel).show(
            picture.federation, framework=doc["framework"] if doc else "", live=run.live
        )
    if doc is not None and "privacy" in visible:
        screen.query_one(PrivacyPanel).show(
            run.privacy,
            plan=picture.plan,
            budget=picture.budget,
            live=run.live,
            exposed=picture.exposed,
        )
    if doc is not None and "parameters" in visible:
        screen.query_one(ProvenancePanel).show(doc, picture.provenance)


def show_differences(screen: RunActions, runs: Sequence[RunState]) -> None:
    """Read in what the runs differ, once all of them are known, and show it."""
    panel = screen.query_one(DifferencesPanel)
    docs = [run.doc for run in runs if run.doc is not None]
    if panel.asked or len(docs) < len(runs):
        return
    panel.asked = True
    screen.app.in_background(
        "What differs cannot be told",
        lambda: differences(docs),
        lambda found: panel.show(found, labels(runs)),
    )


def labels(runs: Sequence[RunState]) -> list[str]:
    """What a legend calls each run: its name, with the id where names do not tell them apart."""
    names = [plain(run.doc["name"]) if run.doc else run.id for run in runs]
    if len(set(names)) == len(names):
        return names
    return [f"{name} {run.id}" for name, run in zip(names, runs, strict=True)]


def _headline(run: RunState) -> tuple[str, float] | None:
    """The series that speaks for a run and its last value."""
    name = run.doc["headline"] if run.doc else None
    if name is None:
        name = next(iter(run.last), None)
    return (name, run.last[name]) if name is not None and name in run.last else None
