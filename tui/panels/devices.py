"""The machine as it is now: processor, memory, accelerators, the runs on it, and who waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalGroup, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.panels import machine_lines
from traindeck.tui.readers.machine import Machine
from traindeck.tui.widgets.line_list import LineList


class DevicesPanel(VerticalScroll, inherit_bindings=False):
    """Shows what it is given by `show`; posts `Chosen` when a run is picked.

    It reads nothing itself: whoever owns it does, on a thread.
    """

    BINDING_GROUP_TITLE = "Devices panel"
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS
    DEFAULT_CSS = """
    DevicesPanel {
        height: 1fr; padding: 1 0 0 2; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
    }
    DevicesPanel > Static, #devices-found > Static { height: auto; margin: 0 1 1 0; }
    #devices-found > .devices-heading {
        margin: 0; color: $text-accent; text-style: bold;
    }
    #devices-found > .devices-faint { color: $text-muted; }
    #devices-found > #devices-columns { margin: 0; }
    #devices-found > OptionList {
        height: auto; border: none; padding: 0; margin: 0 1 0 0; background: transparent;
    }
    #devices-found > OptionList:focus { border: none; background-tint: $foreground 0%; }
    #devices-found > OptionList > .option-list--option { padding: 0; }
    #devices-found > OptionList > .option-list--option-highlighted {
        background: transparent; color: $foreground; text-style: none;
    }
    #devices-found > OptionList:focus > .option-list--option-highlighted {
        background: $block-cursor-background; color: $block-cursor-foreground;
    }
    #devices-found > #devices-queue-heading, #devices-found > #devices-notes { margin-top: 1; }
    """

    class Chosen(Message):
        def __init__(self, run_id: str) -> None:
            super().__init__()
            self.run_id = run_id

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._machine: Machine | None = None
        self._runs: Sequence[RunDoc] = ()
        self._waiting: Sequence[RunDoc] = ()

    def compose(self) -> ComposeResult:
        yield Static("Looking at the machine…", id="devices-looking")
        with VerticalGroup(id="devices-found"):
            yield Static(id="devices-machine")
            yield Static(id="devices-cores")
            yield Static("Accelerators", classes="devices-heading")
            yield Static(id="devices-accelerators")
            yield Static("Runs", classes="devices-heading")
            yield Static(id="devices-columns", classes="devices-faint")
            yield LineList(id="devices-runs", markup=False)
            yield Static("Waiting", classes="devices-heading", id="devices-queue-heading")
            yield LineList(id="devices-queue", markup=False)
            yield Static(id="devices-notes", classes="devices-faint")

    def on_mount(self) -> None:
        self._draw()

    def show(self, machine: Machine | None, runs: Sequence[RunDoc]) -> None:
        """Take a look at the machine and the runs that go on, in the order they are to be shown."""
        self._machine = machine
        self._runs = [run for run in runs if run["state"] != "queued"]
        self._waiting = sorted(
            (run for run in runs if run["state"] == "queued"),
            key=lambda run: (run["queue"]["place"] if run["queue"] else 1 << 30, run["id"]),
        )
        self._draw()

    def marked_run(self) -> str | None:
        """The run under the cursor of the list that has the focus, else the first."""
        for options in self.query(OptionList):
            if options.has_focus and options.highlighted_option is not None:
                return options.highlighted_option.id
        shown = [*self._runs, *self._waiting]
        return shown[0]["id"] if shown else None

    def on_resize(self, _: events.Resize) -> None:
        self._draw()

    @on(OptionList.OptionSelected)
    def _picked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Chosen(event.option_id))

    def _draw(self) -> None:
        machine = self._machine
        self.query_one("#devices-looking").display = machine is None
        self.query_one("#devices-found").display = machine is not None
        width = self.scrollable_content_region.width - 1
        if machine is None or width <= 0:
            return
        lines = machine_lines
        names = {run["id"]: run["name"] for run in self._runs}
        self._put("machine", lines.machine(machine, width))
        self._put("cores", lines.cores(machine, names, width))
        none = Content.styled("none found: runs train on the processor", "dim")
        accelerators = machine.inventory.accelerators
        self._put(
            "accelerators", lines.accelerators(machine, names, width) if accelerators else none
        )
        self._put("columns", lines.run_heading(width) if self._runs else Content("none running"))
        self._fill(
            "runs",
            {
                run["id"]: lines.run_line(run, machine.use.get(run["id"]), width)
                for run in self._runs
            },
        )
        self._fill("queue", {run["id"]: lines.queue_line(run, width) for run in self._waiting})
        notes = "\n".join(plain(note) for note in machine.inventory.notes)
        self._put("notes", Content(notes))

    def _put(self, part: str, content: Content) -> None:
        """Draw a part; laid out anew only when its height changes."""
        static = self.query_one(f"#devices-{part}", Static)
        before = static.visual
        same_height = isinstance(before, Content) and (
            before.plain.count("\n") == content.plain.count("\n") and bool(before.plain)
        )
        static.update(content, layout=not same_height)

    def _fill(self, part: str, lines: dict[str, Content]) -> None:
        """Change the lines in place as long as the runs are the same: the cursor stays."""
        options = self.query_one(f"#devices-{part}", OptionList)
        if part == "queue":
            self.query_one("#devices-queue-heading").display = bool(lines)
        options.display = bool(lines)
        if [option.id for option in options.options] == list(lines):
            for run_id, line in lines.items():
                options.replace_option_prompt(run_id, line)
            return
        at = options.highlighted_option.id if options.highlighted_option else None
        options.set_options(Option(line, id=run_id) for run_id, line in lines.items())
        if lines:
            options.highlighted = options.get_option_index(at) if at in lines else 0
