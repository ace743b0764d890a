"""What a run shows besides numbers: pictures, histograms over time, texts, tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from traindeck.core.base.format import compact
from traindeck.core.base.sanitize import clean, plain
from traindeck.core.run.media import Shown
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.panels.curves_words import NOT_COVERED
from traindeck.tui.readers.media import MediaState, Series
from traindeck.tui.widgets.graphics import BLOCKS, Graphics
from traindeck.tui.widgets.half_blocks import HalfBlocks

LEAST_ROWS = 4
MOST_CELL = 24
FAR = 10
"""Steps that one key goes at once, where it goes far."""


class MediaPanel(VerticalScroll, can_focus=True, inherit_bindings=False):
    """One name at a time, at one step: left and right go through the steps, n to the next name.

    It stays at the newest step until another is asked for.
    """

    BORDER_TITLE = "media"
    BINDING_GROUP_TITLE = "Media"
    DEFAULT_CSS = """
    MediaPanel { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    MediaPanel > Static { height: auto; }
    MediaPanel > HalfBlocks { height: 0; }
    MediaPanel > #media-graphics { width: 0; height: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next(1)", "Next", id="media.next", tooltip="Show what has the next name"),
        Binding(
            "N", "next(-1)", "Before", id="media.previous", show=False, tooltip="The name before"
        ),
        Binding(
            "v",
            "private",
            "Private",
            id="media.private",
            tooltip="Show or hide what may be made of private data, which no ε covers",
        ),
        *SCROLL_KEYS,
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state = MediaState()
        self._key: tuple[str, str] | None = None
        self._step: int | None = None  # None: the newest
        self._wanted = ""
        self.want: Callable[[str], None] = lambda path: None
        """Asks for a picture by the path that its line has; it comes with what `show` is given."""

    def compose(self) -> ComposeResult:
        yield Static(id="media-head")
        yield HalfBlocks()
        if self._graphics is not None:
            yield self._graphics.widget(id="media-graphics")
        yield Static(id="media-words")

    def show(self, state: MediaState) -> None:
        """Take what a run has shown so far."""
        if state is not self._state:
            self._state = state
            self._draw()

    def on_resize(self, _: Resize) -> None:
        self._draw()

    # Choosing

    @property
    def _graphics(self) -> Graphics | None:
        return getattr(self.app, "graphics", None)

    @property
    def _hides_private(self) -> bool:
        return bool(getattr(self.app, "hides_private", False))

    def _all(self) -> list[Series]:
        there = self._state.series
        return [one for one in there if not (self._hides_private and one.private)]

    def _chosen(self) -> Series | None:
        there = self._all()
        keys = [(one.kind, one.name) for one in there]
        if self._key in keys:
            return there[keys.index(self._key)]
        return there[0] if there else None

    def _place(self, series: Series) -> int:
        """Where in the series the step is that is looked at, or the last one before it."""
        steps = [shown.step for shown in series.shown]
        if self._step is None:
            return len(steps) - 1
        return max(0, sum(step <= self._step for step in steps) - 1)

    def action_next(self, by: int) -> None:
        there, chosen = self._all(), self._chosen()
        if chosen is not None:
            one = there[(there.index(chosen) + by) % len(there)]
            self._key = one.kind, one.name
            self.scroll_home(animate=False)
            self._draw()

    def action_private(self) -> None:
        self.app.hides_private = not self._hides_private  # type: ignore[attr-defined]
        self._draw()

    def action_scroll_left(self) -> None:
        self._go(-1)

    def action_scroll_right(self) -> None:
        self._go(1)

    def action_page_left(self) -> None:
        self._go(-FAR)

    def action_page_right(self) -> None:
        self._go(FAR)

    def _go(self, by: int) -> None:
        series = self._chosen()
        if series is None:
            return
        last = len(series.shown) - 1
        place = min(max(0, self._place(series) + by), last)
        self._step = None if place == last else series.shown[place].step
        self._draw()

    # Drawing

    def _draw(self) -> None:
        width, height = self.outer_size.width - 3, self.outer_size.height - 2
        head = self.query_one("#media-head", Static)
        picture, words = self.query_one(HalfBlocks), self.query_one("#media-words", Static)
        series = self._chosen()
        if width <= 0:
            return
        if series is None:
            hidden = len(self._state.series)
            self._draw_pixels(None)
            head.update(f"{hidden} private hidden; v shows them" if hidden else "nothing yet")
            picture.styles.height = 0
            words.update("")
            return
        place = self._place(series)
        head.update(self._head(series, place))
        shown, rgb, said = series.shown[place], None, Content("")
        if series.kind == "image":
            rgb, said = self._image(shown, width, height)
        elif series.kind == "histogram":
            rgb, said = _histograms(series, place, width, height)
        elif series.kind == "table":
            said = Content(_table(shown.content))
        else:
            said = Content(clean(shown.content["text"]))
        in_pixels = series.kind == "image" and self._graphics is not None
        self._draw_pixels(rgb if in_pixels else None)
        rgb = None if in_pixels else rgb
        picture.styles.height = 0 if rgb is None else (len(rgb) + 1) // 2
        picture.show(rgb)
        words.update(said)

    def _draw_pixels(self, rgb: Any) -> None:
        """By the terminal's own graphics; none takes the last picture away."""
        if self._graphics is None:
            return
        picture: Any = self.query_one("#media-graphics")
        if rgb is None and picture.image is None:
            return
        wide, high = (0, 0) if rgb is None else (rgb.shape[1], rgb.shape[0])
        picture.styles.width, picture.styles.height = self._graphics.cells(wide, high)
        picture.image = None if rgb is None else self._graphics.picture(rgb)

    def _head(self, series: Series, place: int) -> Content:
        there = self._all()
        shown = series.shown[place]
        parts = [
            Content.styled(plain(series.name), "bold $text-accent"),
            Content.styled(f"{series.kind} {there.index(series) + 1} of {len(there)}", "dim"),
            Content(f"step {shown.step:,}"),
            Content.styled(f"{place + 1} of {len(series.shown)}", "dim"),
        ]
        if series.private:
            parts.insert(1, Content.styled(NOT_COVERED, "$text-warning"))
        return Content("  ").join(parts)

    def _image(self, shown: Shown, width: int, height: int) -> tuple[Any, Content]:
        from traindeck.tui.readers.images import resized

        path, state = shown.content["path"], self._state
        if path != self._wanted:
            self._wanted = path
            self.want(path)
        if state.asked != path:
            return None, Content("reading …")
        if state.pixels is None:
            return None, Content.styled(f"{plain(path)}: {plain(state.problem)}", "$text-warning")
        rgb = state.pixels.rgb
        high, wide = rgb.shape[:2]
        size = (self._graphics or BLOCKS).fit(wide, high, width, max(LEAST_ROWS, height - 1))
        words = f"{state.pixels.width} x {state.pixels.height} pixels"
        return resized(rgb, *size), Content.styled(words, "dim")


def _histograms(series: Series, place: int, width: int, height: int) -> tuple[Any, Content]:
    """All of a name up to the step that is looked at, and what the last of them holds."""
    from traindeck.tui.plot.heatmap import heat, span

    upto = series.shown[: place + 1]
    given = [(shown.content["edges"], shown.content["counts"]) for shown in upto]
    low, high = span(given)
    rgb = heat(given, width, 2 * max(LEAST_ROWS, height - 4))
    last = upto[-1].content
    begin, end = f"step {upto[0].step:,}", f"step {upto[-1].step:,}"
    axis = begin if len(upto) == 1 else begin + end.rjust(max(1, width - len(begin)))
    left_out = last.get("left_out")
    words = [
        axis,
        f"upwards from {compact(low)} to {compact(high)}, bright where many are",
        f"at step {upto[-1].step:,}: {int(sum(last['counts'])):,} values from"
        f" {compact(last['edges'][0])} to {compact(last['edges'][-1])}"
        + (f", {left_out:,} not finite" if isinstance(left_out, int) and left_out else ""),
    ]
    return rgb, Content.styled("\n".join(words), "dim")


def _table(content: dict[str, Any]) -> str:
    rows = [list(map(_cell, row)) for row in content["rows"]]
    lines = [[plain(str(column), MOST_CELL) for column in content["columns"]], *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    numbers = [all(_is_number(row[at]) for row in content["rows"]) for at in range(len(widths))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return compact(value)
    return "" if value is None else plain(str(value), MOST_CELL)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
