"""The exact command a launch form stands for, what it costs, and the button that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Checkbox, Static

from traindeck.core.base.sanitize import clean
from traindeck.tui.keys import key_of
from traindeck.tui.readers.pricing import LaunchPrice


def command_line(
    recipe: str,
    params: Mapping[str, str],
    *,
    on: str = "cpu",
    name: str = "",
    tags: Sequence[str] = (),
    accept_no_privacy: bool = False,
    isolated: bool = False,
) -> str:
    """The `traindeck run` command that launches the same, quoted for a shell.

    `params` are the texts of the parameters that are not at their default.
    """
    words = ["traindeck", "run", recipe]
    for key, text in params.items():
        words += ["-p", f"{key}={text}"]
    if on != "cpu":
        words += ["--on", on]
    if isolated:
        words.append("--isolated")
    if name:
        words += ["--name", name]
    for tag in tags:
        words += ["--tag", tag]
    if accept_no_privacy:
        words.append("--accept-no-privacy")
    return shlex.join(words)


ACCEPT = "accept: the budget's epsilon is then infinite, for ever"


class Consent(Checkbox, inherit_bindings=False):
    """A box that is empty or crossed, so that it can be told without colors."""

    BINDING_GROUP_TITLE = "Consent"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter,space",
            "toggle_button",
            "Accept",
            id="consent.toggle",
            show=False,
            tooltip="Accept that the budget's epsilon is infinite from then on, or take it back",
        )
    ]

    def render(self) -> Content:
        return Content(f"[{'x' if self.value else ' '}] ") + self._label


class LaunchBar(Vertical):
    """The command, live, with Copy and Launch; below it its price and what stands in the way."""

    DEFAULT_CSS = """
    LaunchBar { height: auto; dock: bottom; background: $panel; padding: 0 1; }
    LaunchBar > Horizontal { height: auto; }
    LaunchBar #command { width: 1fr; height: auto; max-height: 4; overflow-y: auto; }
    LaunchBar Button { margin: 0 0 0 1; min-width: 10; }
    LaunchBar > #price { display: none; height: auto; max-height: 3; color: $text-muted; }
    LaunchBar > #accept { display: none; height: 1; }
    LaunchBar #accept-switch {
        height: 1; width: auto; border: none !important; padding: 0; margin: 0;
        background: transparent; color: $text-warning;
        &:focus { text-style: reverse; }
    }
    LaunchBar > #obstacle { color: $text-error; display: none; height: auto; max-height: 3; }
    LaunchBar.-whole > #price, LaunchBar.-whole > #obstacle { max-height: 9; }
    """

    class Launch(Message):
        pass

    class Copy(Message):
        pass

    class Accepted(Message):
        """That the run has no privacy was accepted, or no longer is."""

    def __init__(self) -> None:
        super().__init__()
        self._command = Static(id="command")
        self._launch = Button("Launch", id="launch", variant="success", compact=True)
        self._price = Static(id="price")
        self._switch = Consent(ACCEPT, id="accept-switch")
        self._accept = Horizontal(self._switch, id="accept")
        self._obstacle = Static(id="obstacle")
        self._priced: LaunchPrice | None = None
        self._said = ("", "")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._command
            yield Button("Copy", id="copy", compact=True)
            yield self._launch
        yield self._price
        yield self._accept
        yield self._obstacle

    @property
    def accepted(self) -> bool:
        """Whether a run without privacy was accepted where that is asked."""
        return bool(self._accept.display) and self._switch.value

    def show_command(self, command: str) -> None:
        self._command.update(Content.assemble(("$ ", "dim"), clean(command)))

    def show_whole(self, whole: bool) -> None:
        """Say all of why something is refused, or one line of it."""
        self.set_class(whole, "-whole")
        self.show_obstacle(*self._said)

    @property
    def whole(self) -> bool:
        return self.has_class("-whole")

    def _told(self, mark: str, short: str, whole: str) -> Content:
        if self.whole or not whole or whole == short:
            return Content.styled(f"{mark}{clean(whole or short)}", "$text-error")
        key = key_of(self.app, "recipes.why", "f2") if self.is_attached else "f2"
        return Content.assemble((f"{mark}{clean(short)}", "$text-error"), (f"  {key} why", "dim"))

    def show_price(self, price: LaunchPrice | None) -> None:
        """Say what the launch costs in privacy; None while that is being worked out."""
        self._priced = price
        if price is None:
            content = Content.styled("ε …", "dim")
        else:
            content = Content(clean(price.line))
            if price.accept:
                content = content.stylize("$text-warning")
            if price.refused and not (self.whole and price.why and price.why in self._said[1]):
                why = self._told("✗ ", price.refused, price.why)
                content = Content("\n").join([content, why]) if price.line else why
            asked = price.accept
            if self._accept.display != asked:
                self._accept.display = asked
                self._switch.value = False
        self._price.update(content)
        self._price.display = bool(content.plain)

    def take_back(self) -> None:
        """Accept nothing more."""
        self._switch.value = False

    def show_obstacle(self, reason: str, whole: str = "") -> None:
        """Say why nothing was launched, in a line and `whole`; an empty reason takes it back."""
        self._said = (reason, whole)
        if self._priced is not None:  # what both would say is said once
            self.show_price(self._priced)
        self._obstacle.update(self._told("", reason, whole))
        self._obstacle.display = bool(reason)

    def set_busy(self, busy: bool) -> None:
        self._launch.disabled = busy
        self._launch.label = "Launching…" if busy else "Launch"

    @on(Consent.Changed)
    def _switched(self, event: Consent.Changed) -> None:
        event.stop()
        self.post_message(self.Accepted())

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Launch() if event.button.id == "launch" else self.Copy())

    @on(events.Click, "#command")
    def _clicked(self) -> None:
        self.post_message(self.Copy())
