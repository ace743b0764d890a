"""The sweeps: what each has found so far, its trials as they come, and what its parameters do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widgets import Static

from traindeck.core.base.format import counted
from traindeck.core.sweeps import begin, driver, study
from traindeck.core.sweeps.removal import remove
from traindeck.core.sweeps.study import SweepFolder
from traindeck.tui.host import Host
from traindeck.tui.keys import SCREEN_KEYS, command
from traindeck.tui.panels.sweep_lines import NO_SWEEPS, SWEEPS, facts, trial_columns
from traindeck.tui.panels.sweep_pictures import PICTURES, show
from traindeck.tui.readers.launching import launch_again
from traindeck.tui.readers.sweeps import Sweep, SweepsWatch
from traindeck.tui.screens.dialogs import ConfirmDialog, PromptDialog
from traindeck.tui.screens.watching import WatchingScreen
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.row_table import RowTable
from traindeck.tui.widgets.sketch import Sketch
from traindeck.tui.widgets.top_bar import TopBar

ACTIONS = ("open", "picture", "slice", "again", "stop", "go_on", "extend", "delete", "copy")
"""What is done to the sweep under the cursor."""


class SweepsScreen(WatchingScreen[SweepsWatch], inherit_bindings=False):
    """Every sweep; below it the trials and a picture of the one under the cursor."""

    CSS_PATH = "sweeps.tcss"
    AUTO_FOCUS = "#sweeps"
    BINDING_GROUP_TITLE = "Sweeps"
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (100, "wide"), (160, "broad")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "open",
            "Open",
            id="sweeps.open",
            tooltip="From a sweep to its trials; from a trial to its run",
        ),
        command("sweeps.picture", "D", "picture", "Picture", "History, slice or side by side"),
        command("sweeps.slice", "X", "slice", "Parameter", "Slice by the next parameter"),
        command("sweeps.best", "a", "again", "Best again", "Launch the best again, or longer"),
        command("sweeps.stop", "s", "stop", "Stop", "Start no further trial, end those that run"),
        command("sweeps.resume", "U", "go_on", "Go on", "Let a stopped sweep go on", show=False),
        command("sweeps.extend", "I", "extend", "Extend", "Let it have more trials", show=False),
        command("sweeps.delete", "d", "delete", "Delete", "Delete it with its runs", show=False),
        Binding("y", "copy", "Copy", id="sweeps.copy", tooltip="Copy the command that shows it"),
        *SCREEN_KEYS,
    ]

    app = getters.app(Host)

    class Looked(Message):
        """The sweeps were read."""

        def __init__(self, sweeps: tuple[Sweep, ...]) -> None:
            super().__init__()
            self.sweeps = sweeps

    def __init__(self) -> None:
        super().__init__(name="sweeps")
        self._picture = PICTURES[0]
        self._chosen: dict[str, str] = {}
        self._shown: object = None

    def compose(self) -> ComposeResult:
        yield TopBar("sweeps")
        yield Static("reading the sweeps…", id="sweeps-none", markup=False)
        with Vertical(id="sweeps-body"):
            yield RowTable(SWEEPS, lambda one: one.id, id="sweeps")
            yield Static(id="sweep-facts")
            with Container(id="sweep-details"):
                yield RowTable(trial_columns((), 1), lambda one: str(one.number), id="sweep-trials")
                yield Sketch("trials", id="sweep-picture")
        yield KeyBar()

    @property
    def sweeps(self) -> RowTable:
        return self.query_one("#sweeps", RowTable)

    @property
    def trials(self) -> RowTable:
        return self.query_one("#sweep-trials", RowTable)

    @property
    def current(self) -> Sweep | None:
        """The sweep under the cursor."""
        sweep: Sweep | None = self.sweeps.current
        return sweep

    # Looking, while on show

    def on_mount(self) -> None:
        self.query_one("#sweeps-body").display = False
        self._watch = SweepsWatch(
            self.app.home,
            ready=lambda sweeps: self.from_thread(self.Looked(sweeps)),
            failed=lambda error: self.from_thread(self.Failed(error)),
        )
        self._watch.start()

    @on(Looked)
    def _take(self, message: Looked) -> None:
        sweeps = message.sweeps
        nothing, body = self.query_one("#sweeps-none", Static), self.query_one("#sweeps-body")
        with self.app.batch_update():
            if not sweeps:
                nothing.update(NO_SWEEPS)
            nothing.display, body.display = not sweeps, bool(sweeps)
            self.sweeps.styles.height = len(sweeps) + 1
            self.sweeps.show(sweeps)
            self._show_current()
        if sweeps and self.focused is None:
            self.sweeps.focus()

    @on(WatchingScreen.Failed)
    def _tell(self, message: WatchingScreen.Failed) -> None:
        self.app.tell_error("The sweeps cannot be read", message.error)

    @on(RowTable.Moved, "#sweeps")
    def _other(self) -> None:
        self._show_current()

    def on_resize(self) -> None:
        self._shown = None
        self._show_current()

    def _show_current(self) -> None:
        sweep = self.current
        if sweep is None or sweep is self._shown:
            return
        self._shown = sweep
        width = max(20, self.size.width - 2)
        self.query_one("#sweep-facts", Static).update(facts(sweep, width))
        self.trials.take_columns(trial_columns(sweep.axes, sweep.design.seeds))
        self.trials.show(sweep.trials[::-1])
        self._draw(sweep)
        self.refresh_bindings()

    def _draw(self, sweep: Sweep) -> None:
        sketch = self.query_one("#sweep-picture", Sketch)
        show(sketch, sweep, self._picture, self._parameter(sweep))

    def _parameter(self, sweep: Sweep) -> str:
        """The parameter of the slice: the one that matters most, unless another was chosen."""
        names = [axis.name for axis in sweep.axes]
        usual = next((name for name in sweep.importance if name in names), "")
        chosen = self._chosen.get(sweep.id, usual)
        return chosen if chosen in names else (names[0] if names else "")

    def action_picture(self) -> None:
        self._picture = PICTURES[(PICTURES.index(self._picture) + 1) % len(PICTURES)]
        if self.current is not None:
            self._draw(self.current)

    def action_slice(self) -> None:
        sweep = self.current
        if sweep is None or not sweep.axes:
            return
        names = [axis.name for axis in sweep.axes]
        if self._picture == "slice":
            at = names.index(self._parameter(sweep))
            self._chosen[sweep.id] = names[(at + 1) % len(names)]
        self._picture = "slice"
        self._draw(sweep)

    # Doing

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action not in ACTIONS:
            return True
        sweep = self.current if self.query("#sweeps") else None
        if sweep is None:
            return False
        if action == "stop":
            return sweep.state in (study.RUNNING, study.INTERRUPTED)
        if action == "go_on":
            return not sweep.is_on() and sweep.state != study.FINISHED
        return action != "again" or sweep.best is not None

    def action_open(self) -> None:
        if not self.trials.has_focus:
            self.trials.focus()
            return
        trial = self.trials.current
        if trial is not None:
            self.app.open_runs([one.run for one in trial.attempts])

    @on(RowTable.Opened)
    def _clicked(self) -> None:
        self.action_open()

    def _do(self, what: str, action: Callable[[SweepFolder], object]) -> None:
        sweep = self.current
        if sweep is None:
            return
        folder = SweepFolder(study.sweeps_of(self.app.home) / sweep.id)

        def done(_: object) -> None:
            if self._watch is not None:
                self._watch.look_now()

        self.app.in_background(what, partial(action, folder), done)

    def action_stop(self) -> None:
        sweep = self.current
        if sweep is None:
            return

        def stop(folder: SweepFolder) -> None:
            study.stop(folder)
            driver.start(folder)

        def answered(yes: bool | None) -> None:
            if yes:
                self._do("The sweep cannot be stopped", stop)

        detail = "Trials that go on are asked to end; those that wait are not begun."
        question = f"Stop the sweep {sweep.design.name}?"
        self.app.push_screen(ConfirmDialog(question, detail, "Stop"), answered)

    def action_go_on(self) -> None:
        def go_on(folder: SweepFolder) -> None:
            study.resume(folder)
            driver.start(folder)

        self._do("The sweep cannot go on", go_on)

    def action_extend(self) -> None:
        def extend(answer: str | None) -> None:
            if answer is None:
                return

            def more(folder: SweepFolder) -> None:
                begin.extend(folder, int(answer))
                begin.go_on(folder)

            self._do("The sweep cannot be extended", more)

        dialog = PromptDialog("How many trials more?", "10", check=_whole)
        self.app.push_screen(dialog, extend)

    def action_delete(self) -> None:
        sweep = self.current
        if sweep is None:
            return

        def delete(yes: bool | None) -> None:
            if yes:
                self._do("The sweep cannot be deleted", remove)

        question = f"Delete the sweep {sweep.design.name}?"
        runs = sum(one.runs for one in sweep.trials)
        detail = f"Its {counted(runs, 'run')} {'goes' if runs == 1 else 'go'} to the trash."
        self.app.push_screen(ConfirmDialog(question, detail, "Delete"), delete)

    def action_again(self) -> None:
        sweep = self.current
        found = sweep.best if sweep else None
        if sweep is None or found is None:
            return
        run = found.attempts[0].run

        def again(answer: str | None) -> None:
            if answer is None:
                return
            self.app.in_background(
                "The best trial cannot be launched again",
                partial(launch_again, self.app.home, run, answer, f"{sweep.design.name} best"),
                lambda doc: self.app.notify(f"{doc['name']} was launched as run {doc['id']}"),
            )

        dialog = PromptDialog(
            f"Launch trial {found.number} again with other values, such as epochs=20?",
            hint="name=value …; nothing: as it was",
            check=_pairs,
        )
        self.app.push_screen(dialog, again)

    def action_copy(self) -> None:
        if self.current is not None:
            self.app.copy(f"traindeck sweeps show {self.current.id}", "The command")


def _whole(text: str) -> str | None:
    return None if text.strip().isdigit() and int(text) > 0 else "a whole number above 0"


def _pairs(text: str) -> str | None:
    wrong = [word for word in text.split() if "=" not in word[1:]]
    return f"{wrong[0]} is not name=value" if wrong else None
