"""The form of a recipe's sweep: where a value stands in the launch form, here a range may."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.sanitize import clean, plain
from traindeck.core.devices.request import parse_request
from traindeck.core.recipe.params import Param
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.sweeps.space import complaint
from traindeck.core.sweeps.study import PRUNERS, SAMPLERS, SweepRequest, usual_aim
from traindeck.tui.readers.drafts import Draft
from traindeck.tui.readers.sweeping import SweepPrice
from traindeck.tui.widgets.choice_bar import ChoiceBar
from traindeck.tui.widgets.field_row import CONTROL_WIDTH, FieldRow
from traindeck.tui.widgets.launch_bar import LaunchBar
from traindeck.tui.widgets.param_form import ShowControls, as_text
from traindeck.tui.widgets.recipe_form import FormScroll

RANGES = "a value, or log:1e-4..1e-1, 1..8, 0..1/0.25, 64,128"
DIRECTIONS = ("maximize", "minimize")
PRIVATE_SELECT = "private select"
_LABEL_WIDEST = 24
_WIDE = 3 * CONTROL_WIDTH // 2


class SweepRow(FieldRow):
    """One line of the form; `text` is what is typed or chosen."""

    class Changed(Message):
        pass

    def __init__(
        self,
        name: str,
        text: str,
        default: str,
        label_width: int,
        *,
        check: Callable[[str], str] = lambda text: "",
        choices: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        control = (
            ChoiceBar(choices, text)
            if choices
            else Input(text, placeholder=plain(default), highlighter=ShowControls())
        )
        super().__init__(
            name, control, label_width, control_width=_WIDE, id=f"sweep-{name.replace(' ', '-')}"
        )
        self.name_shown, self.text, self.default = name, text, default
        self._check, self._hint_text = check, hint
        self._show()

    @property
    def changed(self) -> bool:
        return self.text not in ("", self.default)

    @property
    def error(self) -> str:
        return self._check(self.text) if self.changed else ""

    def take_typed(self) -> None:
        control = self.control
        assert isinstance(control, ChoiceBar | Input)
        if control.value.strip() != self.text:
            self.text = control.value.strip()
            self._show()
            self.post_message(self.Changed())

    @on(Input.Changed)
    @on(ChoiceBar.Changed)
    def _typed(self, event: Message) -> None:
        event.stop()
        self.take_typed()

    def reset(self) -> None:
        assert isinstance(self.control, ChoiceBar | Input)
        self.control.value = self.default

    @on(FieldRow.Reset)
    def _reset_clicked(self, event: FieldRow.Reset) -> None:
        event.stop()
        self.reset()

    def _show(self) -> None:
        self.say(hint=self._hint_text, error=self.error, changed=self.changed)


class SweepForm(Vertical):
    """Everything that is asked before a sweep; `Changed` tells of each edit."""

    BINDING_GROUP_TITLE = "Sweep form"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next field", id="form.next", show=False),
        Binding("up", "app.focus_previous", "Field before", id="form.previous", show=False),
    ]

    class Changed(Message):
        pass

    def __init__(self, recipe: Recipe, draft: Draft) -> None:
        """`draft` is the launch form's: its values stand here too, unless others were typed."""
        super().__init__()
        self.recipe = recipe
        self.bar = LaunchBar()
        self._price = Static(id="sweep-price")
        accounts = any(form.accounting for form in recipe.forms())
        longest = PRIVATE_SELECT if accounts else "at once"
        widest = max(len(name) for name in (longest, *recipe.params))
        self._label_width = min(widest, _LABEL_WIDEST) + 2
        self.params = [self._param_row(param, draft) for param in recipe.params.values()]
        series, direction = usual_aim(recipe)
        options = [
            self._row("trials", "20", draft, _whole, hint="how many"),
            self._row("sampler", "tpe", draft, choices=SAMPLERS),
            self._row("pruner", "none", draft, choices=PRUNERS, hint="gives up bad trials"),
            self._row("aim", direction, draft, choices=DIRECTIONS),
            self._row("series", series, draft, hint="its last value counts"),
            self._row("at once", "1", draft, _whole, hint="trials that run at a time"),
            self._row("seeds", "1", draft, _whole, hint="repeats of each trial"),
            self._row("device", draft.on, draft, _device, hint="where each trial runs"),
            self._row("name", "", draft, hint="of the sweep"),
        ]
        if accounts:
            said = "only the best is shown"
            options.append(self._row(PRIVATE_SELECT, "no", draft, choices=("no", "yes"), hint=said))
        self.options = {row.name_shown: row for row in options}
        self._show_command()

    def _row(
        self,
        name: str,
        default: str,
        draft: Draft,
        check: Callable[[str], str] = lambda text: "",
        choices: tuple[str, ...] = (),
        hint: str = "",
    ) -> SweepRow:
        text = draft.sweep.get(f"--{name}", default)
        width = self._label_width
        return SweepRow(name, text, default, width, check=check, choices=choices, hint=hint)

    def _param_row(self, param: Param, draft: Draft) -> SweepRow:
        launched = draft.params.get(param.name, as_text(param.default))
        text = draft.sweep.get(param.name, _as_one(param, launched))
        facts = [param.limits] if param.limits else []
        facts += [param.help] if param.help else []
        return SweepRow(
            param.name,
            text,
            as_text(param.default),
            self._label_width,
            check=partial(complaint, param.name, recipe=self.recipe),
            hint=" · ".join(facts),
        )

    def compose(self) -> ComposeResult:
        with FormScroll(id="sweep-scroll"):
            yield Static(Content(f"Sweep of {plain(self.recipe.title)}"), classes="form-heading")
            with Horizontal(id="sweep-columns"):
                with Vertical(id="sweep-params"):
                    yield Static(Content(f"Parameters: {RANGES}"), classes="form-heading")
                    yield from self.params
                with Vertical(id="sweep-options"):
                    yield Static("Search", classes="form-heading")
                    yield from self.options.values()
        yield self._price
        yield self.bar

    def _rows(self) -> Iterator[SweepRow]:
        yield from self.params
        yield from self.options.values()

    def take_typed(self) -> None:
        for row in self._rows():
            row.take_typed()

    def texts(self) -> dict[str, str]:
        """What is typed, to be shown again: options as `--name`."""
        typed = {row.name_shown: row.text for row in self.params if row.changed}
        return typed | {f"--{name}": row.text for name, row in self.options.items() if row.changed}

    def errors(self) -> dict[str, str]:
        return {row.name_shown: row.error for row in self._rows() if row.error}

    def focus_first(self, *, wrong: bool = False) -> None:
        for row in self._rows():
            if row.error or not wrong:
                self.screen.set_focus(row.control)
                return

    def reset(self, *, all_fields: bool) -> bool:
        """Put the focused field, or all of them, back to default; False when nothing was."""
        rows = [row for row in self._rows() if all_fields or row.control.has_focus]
        changed = [row for row in rows if row.changed]
        for row in changed:
            row.reset()
        return bool(changed)

    def wrong(self) -> str:
        """What is wrong with what is typed, in one line; empty when nothing is."""
        return "; ".join(f"{name}: {why}" for name, why in self.errors().items())

    def request(self) -> SweepRequest | None:
        """What the form asks for; None while a field of it is wrong."""
        if self.errors():
            return None
        option = {name: row.text or row.default for name, row in self.options.items()}
        return SweepRequest(
            recipe=self.recipe,
            typed={row.name_shown: row.text for row in self.params if row.changed},
            trials=int(option["trials"]),
            series=option["series"],
            direction="minimize" if option["aim"] == "minimize" else "maximize",
            sampler=option["sampler"],
            pruner=option["pruner"],
            seeds=int(option["seeds"]),
            at_once=int(option["at once"]),
            on=option["device"],
            name=option["name"] or None,
            select=option.get(PRIVATE_SELECT) == "yes",
        )

    def command(self) -> str:
        """The command that begins the same, wrong values included."""
        texts = {name: row.text for name, row in self.options.items() if row.changed}
        words = ["traindeck", "sweep", self.recipe.name]
        for row in self.params:
            if row.changed:
                words += ["-p", f"{row.name_shown}={row.text}"]
        aim, series = (self.options[name] for name in ("aim", "series"))
        if aim.changed or series.changed:
            words += [f"--{aim.text or aim.default}", series.text or series.default]
        on = self.options["device"].text or self.options["device"].default
        if on != "cpu":
            words += ["--on", on]
        for name in ("trials", "sampler", "pruner", "at once", "seeds", "name"):
            if name in texts:
                words += [f"--{name.replace(' ', '-')}", texts[name]]
        if texts.get(PRIVATE_SELECT) == "yes":
            words.append("--private-select")
        return shlex.join(words)

    def show_price(self, price: SweepPrice | None) -> None:
        """Say what the sweep would cost; None while that is being worked out."""
        if price is None:
            self._price.update(Content.styled("working out what it would spend …", "dim"))
            return
        parts = [Content(clean(line)) for line in price.lines]
        if price.refused:  # first: of a long price the rest is scrolled to
            parts.insert(0, Content.styled(f"✗ {plain(price.refused, 1000)}", "$text-error"))
        self._price.update(Content("\n").join(parts))

    @on(Input.Submitted)
    def _field_done(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

    @on(SweepRow.Changed)
    def _edited(self, event: SweepRow.Changed) -> None:
        event.stop()
        self.bar.show_obstacle("")
        self._show_command()
        self.post_message(self.Changed())

    def _show_command(self) -> None:
        self.bar.show_command(self.command())


def _as_one(param: Param, text: str) -> str:
    """A value of the launch form, typed so that it means no more than itself."""
    several = param.type in ("str", "path") and ("," in text or " if " in text or text[:1] == "=")
    return f"={text}" if several else text


def _whole(text: str) -> str:
    return "" if text.isdecimal() and int(text) > 0 else "a whole number above 0"


def _device(text: str) -> str:
    try:
        parse_request(text)
    except TraindeckError as error:
        return str(error)
    return ""
