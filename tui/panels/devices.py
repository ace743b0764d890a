"""The machine as it is now: processor, memory, accelerators, the runs on it, and who waits."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events, on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from traindeck.core.run import RunDoc
from traindeck.core.text import plain
from traindeck.tui.machine import Machine
from traindeck.tui.panels import machine_lines


class DevicesPanel(VerticalScroll):
    """Shows what it is given by `show`; posts `Chosen` when a run is picked.

    It reads nothing itself: whoever owns it does, on a thread.
    """

    BINDING_GROUP_TITLE = "Devices panel"
    DEFAULT_CSS = """
    DevicesPanel { height: 1fr; padding: 1 1 0 2; scrollbar-size-vertical: 1; }
    DevicesPanel > Static { height: auto; margin: 0 1 1 0; }
    DevicesPanel > .devices-heading {
        margin: 0; color: $text-accent; text-style: bold;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    DevicesPanel > .devices-notes { color: $text-muted; }
    DevicesPanel > OptionList {
        height: auto; border: none; padding: 0; margin: 0 1 1 0; background: transparent;
    }
    DevicesPanel > OptionList:focus { border: none; background-tint: $foreground 0%; }
    DevicesPanel > OptionList > .option-list--option { padding: 0; }
    DevicesPanel > OptionList > .option-list--option-highlighted {
        background: transparent; color: $foreground; text-style: none;
    }
    DevicesPanel > OptionList:focus > .option-list--option-highlighted {
        background: $block-cursor-background; color: $block-cursor-foreground;
    }
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
        yield Static("Looking at the machine…", id="devices-machine")
        yield Static(id="devices-cores")
        yield Static("Accelerators", classes="devices-heading", id="devices-gpus-heading")
        yield Static(id="devices-gpus")
        yield Static(classes="devices-heading", id="devices-runs-heading")
        yield OptionList(id="devices-runs", markup=False)
        yield Static("Waiting", classes="devices-heading", id="devices-queue-heading")
        yield OptionList(id="devices-queue", markup=False)
        yield Static(id="devices-notes", classes="devices-notes")

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
        width = self.scrollable_content_region.width - 1
        machine = self._machine
        if width <= 0 or machine is None:
            self._put("#devices-gpus", Content(""), None)
            for part in ("notes", "runs-heading", "runs", "queue-heading", "queue", "cores"):
                self.query_one(f"#devices-{part}").display = machine is not None
            return
        names = {run["id"]: run["name"] for run in self._runs}
        self._put("#devices-machine", machine_lines.machine(machine, width))
        self._put("#devices-cores", machine_lines.cores(machine, names, width))
        found = bool(machine.inventory.accelerators)
        gpus = machine_lines.accelerators(machine, names, width)
        self._put("#devices-gpus", gpus, "#devices-gpus-heading" if found else None)
        notes = "\n".join(plain(note) for note in machine.inventory.notes)
        self._put("#devices-notes", Content(notes))
        self._draw_runs(machine, width)

    def _draw_runs(self, machine: Machine, width: int) -> None:
        heading = self.query_one("#devices-runs-heading", Static)
        heading.display = True
        if not self._runs:
            heading.update(Content.assemble("Runs", ("  none running", "dim not bold")))
        else:
            heading.update(
                Content.assemble("Runs", "\n", machine_lines.run_heading(width).stylize("not bold"))
            )
        self._fill(
            "#devices-runs",
            {
                run["id"]: machine_lines.run_line(run, machine.use.get(run["id"]), width)
                for run in self._runs
            },
        )
        self.query_one("#devices-queue-heading").display = bool(self._waiting)
        self._fill(
            "#devices-queue",
            {run["id"]: machine_lines.queue_line(run, width) for run in self._waiting},
        )

    def _put(self, part: str, content: Content, heading: str | None = "") -> None:
        """Draw a part that has anything to show; laid out anew only when its height changes."""
        static = self.query_one(part, Static)
        lines = content.plain.count("\n")
        before = static.visual
        known = isinstance(before, Content) and before.plain.count("\n") == lines
        static.display = bool(content.plain)
        static.update(content, layout=not known)
        if part == "#devices-gpus":
            self.query_one("#devices-gpus-heading").display = bool(heading)

    def _fill(self, part: str, lines: dict[str, Content]) -> None:
        """Change the lines in place as long as the runs are the same: the cursor stays."""
        options = self.query_one(part, OptionList)
        options.display = bool(lines)
        if [option.id for option in options.options] == list(lines):
            for run_id, line in lines.items():
                options.replace_option_prompt(run_id, line)
            return
        at = options.highlighted_option.id if options.highlighted_option else None
        options.set_options(Option(line, id=run_id) for run_id, line in lines.items())
        if at in lines:
            options.highlighted = options.get_option_index(at)
