"""Making a model of the run that is shown."""

from __future__ import annotations

from traindeck.core.catalogue.document import RunDoc
from traindeck.core.models.servable import FOLDER
from traindeck.core.run.state import LIVE
from traindeck.tui.keys import command, key_of
from traindeck.tui.readers.picture import Picture
from traindeck.tui.screens.run.actions import RunActions

EXPORT_BINDING = command(
    "run.export", "ctrl+e", "export", "Export", "Make a model of it, for servers and phones"
)


class ExportingScreen(RunActions):
    """A screen of runs that offers to export one that has ended and left a servable."""

    _picture: Picture

    def exportable(self) -> bool:
        """Whether the single run shown has ended, and said that it left a servable."""
        docs = self.targets()
        if len(self._picture.runs) != 1 or not docs or docs[0]["state"] in LIVE:
            return False
        events = self._picture.events.events
        return any(each["type"] == "artifact" and each.get("kind") == FOLDER for each in events)

    def _shape(self) -> tuple[object, ...]:
        """What the keys depend on."""
        live = (run.live for run in self._picture.runs)
        return (self._picture.rare, self.exportable(), *live)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.exportable() if action == "export" else True

    def action_export(self) -> None:
        from traindeck.tui.screens.models.form import ask_export

        for doc in self.targets():
            ask_export(self.app, doc, self._exporting)

    def _exporting(self, doc: RunDoc) -> None:
        key = key_of(self.app, "app.models", "T")
        self.app.notify(f"{key} shows the model once it is whole")
        self.app.open_runs([doc["id"]])
