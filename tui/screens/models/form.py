"""The forms of exporting and serving: a recipe's parameters, and the command that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from traindeck.core.base.home import Home
from traindeck.core.base.sanitize import clean, plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.models.shelf import as_name
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.serving import RECIPE as SERVE
from traindeck.tui.host import Host
from traindeck.tui.keys import SCREEN_KEYS
from traindeck.tui.readers.deploying import EXPORT
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.param_form import ParamForm
from traindeck.tui.widgets.recipe_form import FormScroll

EXPORT_FIELDS = ("name", "to", "quantize", "micro", "calibrate", "force")
SERVE_FIELDS = (
    *("models", "port", "grpc_port", "versions", "format", "batch", "private"),
    *("restart", "host"),
)
_FLAGS = {"name": "--as", "micro": "--for micro", "models": ""}
"""Options that are not called as their parameter is."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a form is for.

    title   in words
    begins  the command's first words
    fields  the recipe's parameters that are asked
    texts   what stands in them at first, where that is not the default
    start   does it, on a thread, with the values that differ from the defaults
    """

    title: str
    begins: Sequence[str]
    recipe: Recipe
    fields: Sequence[str]
    texts: Mapping[str, str]
    start: Callable[[Mapping[str, Value]], RunDoc]


class DeployDialog(ModalScreen[RunDoc | None], inherit_bindings=False):
    """Answers with the run that was started; None when left."""

    CSS_PATH = "form.tcss"
    BINDING_GROUP_TITLE = "Form"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it", id="deploy.leave"),
        Binding("ctrl+l", "launch", "Launch", id="deploy.launch", tooltip="Do what the form says"),
        Binding(
            "ctrl+y",
            "copy",
            "Copy",
            id="deploy.copy",
            tooltip="Copy the command that does the same",
        ),
        Binding("down", "app.focus_next", "Next field", id="form.next", show=False),
        Binding("up", "app.focus_previous", "Field before", id="form.previous", show=False),
        *SCREEN_KEYS,
    ]

    app = getters.app(Host)
    form = getters.query_one(ParamForm)

    def __init__(self, launch: Launch) -> None:
        super().__init__()
        self._launch = launch
        self._busy = False

    def compose(self) -> ComposeResult:
        params = [self._launch.recipe.params[name] for name in self._launch.fields]
        label_width = max(len(param.name) for param in params) + 2
        with Vertical(classes="deploy"):
            yield Static(Content(plain(self._launch.title)), classes="question")
            with FormScroll():
                yield ParamForm(params, self._launch.texts, label_width)
            with Horizontal(classes="command"):
                yield Static(id="deploy-command")
                yield Button("Launch", id="deploy-launch", variant="success", compact=True)
            yield Static(id="deploy-obstacle")
        yield KeyBar()

    def on_mount(self) -> None:
        self.form.focus_first()
        self._changed()

    def command(self) -> str:
        """The command that does what the form says."""
        texts = {row.param.name: row.text for row in self.form.rows}
        words = list(self._launch.begins)
        for name in self._launch.fields:
            row = next(each for each in self.form.rows if each.param.name == name)
            if not row.changed:
                continue
            flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
            if row.param.type == "bool":
                words += flag.split()
            else:
                words += [*([flag] if flag else []), *_words(texts[name], split=not flag)]
        return shlex.join(words)

    @on(ParamForm.Changed)
    def _changed(self) -> None:
        command = Content.assemble(("$ ", "dim"), clean(self.command()))
        self.query_one("#deploy-command", Static).update(command)
        self._obstacle("")

    @on(Input.Submitted)
    def _field_done(self, event: Input.Submitted) -> None:
        event.stop()
        self.focus_next()

    def _obstacle(self, why: str) -> None:
        obstacle = self.query_one("#deploy-obstacle", Static)
        obstacle.update(Content(clean(why)))
        obstacle.display = bool(why)

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_copy(self) -> None:
        self.form.take_typed()
        self.app.copy(self.command(), "The command")

    @on(Button.Pressed)
    def action_launch(self) -> None:
        if self._busy:
            return
        self.form.take_typed()
        if errors := self.form.errors():
            self.form.focus_first(invalid=True)
            self._obstacle("; ".join(f"{name}: {why}" for name, why in errors.items()))
            return
        values, start = self.form.values(), self._launch.start
        self._busy = True

        def act() -> RunDoc | Exception:
            try:
                return start(values)
            except Exception as error:  # handed to the form that asked
                return error

        def done(result: RunDoc | Exception) -> None:
            self._busy = False
            if not self.is_attached:
                return
            if isinstance(result, Exception):
                self._obstacle(f"not launched: {result}")
            else:
                self.dismiss(result)

        self.app.in_background("It could not be launched", act, done)


def _words(text: str, *, split: bool) -> list[str]:
    if not split:
        return [text]
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def export_form(home: Home, doc: RunDoc) -> Launch:
    """To export a run. Reads the recipe: for threads only."""
    from traindeck.core.launch import launch
    from traindeck.core.recipe.find import find_recipe
    from traindeck.tui.readers.deploying import export_request

    return Launch(
        f"Export {plain(doc['name'])} ({doc['id']})",
        ("traindeck", "export", doc["id"]),
        find_recipe(home, EXPORT),
        EXPORT_FIELDS,
        {"name": as_name(doc["name"])},
        lambda values: launch(home, export_request(home, doc, values)),
    )


def serve_form(home: Home, model: str, *, beside: bool) -> Launch:
    """To serve a model; `beside` other servers, ports are any that are free. For threads only."""
    from traindeck.core.base.errors import UsageError
    from traindeck.core.launch import launch
    from traindeck.core.recipe.find import find_recipe
    from traindeck.core.serving import targets
    from traindeck.tui.readers.deploying import serve_request

    def start(values: Mapping[str, Value]) -> RunDoc:
        try:
            words = shlex.split(str(values.get("models") or ""))
        except ValueError as error:
            raise UsageError(f"models: {error}") from None
        if not words:
            raise UsageError("models: say what is to be served: models, runs or folders")
        rest = {name: value for name, value in values.items() if name != "models"}
        return launch(home, serve_request(home, targets(home, words), rest))

    return Launch(
        f"Serve {plain(model)}",
        ("traindeck", "serve"),
        find_recipe(home, SERVE),
        SERVE_FIELDS,
        {"models": model, **({"port": "0", "grpc_port": "0"} if beside else {})},
        start,
    )


def ask_export(app: Host, doc: RunDoc, then: Callable[[RunDoc], object]) -> None:
    """Show the form that exports a run; `then` is given the run that was started."""
    _ask(app, lambda: export_form(app.home, doc), then)


def ask_serve(app: Host, model: str, beside: bool, then: Callable[[RunDoc], object]) -> None:
    """Show the form that serves a model; `then` is given the run that was started."""
    _ask(app, lambda: serve_form(app.home, model, beside=beside), then)


def _ask(app: Host, make: Callable[[], Launch], then: Callable[[RunDoc], object]) -> None:
    asked_from = app.screen

    def answered(doc: RunDoc | None) -> None:
        if doc is not None:
            then(doc)

    def show(launch: Launch) -> None:
        if app.screen is asked_from:
            app.push_screen(DeployDialog(launch), answered)

    app.in_background("The form cannot be shown", make, show)
