"""The exact command a launch form stands for, and the button that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Static

from traindeck.core.text import clean


def command_line(
    recipe: str,
    params: Mapping[str, str],
    *,
    on: str = "cpu",
    name: str = "",
    tags: Sequence[str] = (),
) -> str:
    """The `traindeck run` command that launches the same, quoted for a shell.

    `params` are the texts of the parameters that are not at their default.
    """
    words = ["traindeck", "run", recipe]
    for key, text in params.items():
        words += ["-p", f"{key}={text}"]
    if on != "cpu":
        words += ["--on", on]
    if name:
        words += ["--name", name]
    for tag in tags:
        words += ["--tag", tag]
    return shlex.join(words)


class LaunchBar(Vertical):
    """The command, live, with Copy and Launch; below it what stands in the way."""

    DEFAULT_CSS = """
    LaunchBar { height: auto; dock: bottom; background: $panel; padding: 0 1; }
    LaunchBar > Horizontal { height: auto; }
    LaunchBar #command { width: 1fr; height: auto; max-height: 4; overflow-y: auto; }
    LaunchBar Button { margin: 0 0 0 1; min-width: 10; }
    LaunchBar > #obstacle { color: $text-error; display: none; height: auto; max-height: 4; }
    """

    class Launch(Message):
        pass

    class Copy(Message):
        pass

    def __init__(self) -> None:
        super().__init__()
        self._command = Static(id="command")
        self._launch = Button("Launch", id="launch", variant="success", compact=True)
        self._obstacle = Static(id="obstacle")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._command
            yield Button("Copy", id="copy", compact=True)
            yield self._launch
        yield self._obstacle

    def show_command(self, command: str) -> None:
        self._command.update(Content.assemble(("$ ", "dim"), clean(command)))

    def show_obstacle(self, reason: str) -> None:
        """Say why nothing was launched; an empty reason takes it back."""
        self._obstacle.update(Content(clean(reason)))
        self._obstacle.display = bool(reason)

    def set_busy(self, busy: bool) -> None:
        self._launch.disabled = busy
        self._launch.label = "Launching…" if busy else "Launch"

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Launch() if event.button.id == "launch" else self.Copy())

    @on(events.Click, "#command")
    def _clicked(self) -> None:
        self.post_message(self.Copy())
