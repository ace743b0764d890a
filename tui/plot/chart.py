"""Charts as a widget: one that fills it, or a grid of them that scrolls.

All charts of a grid are drawn by this one widget, and only those in sight: a run with a thousand
series costs no more than what fits the screen. Rows that did not change are not sent to the
terminal again.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual import events
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from traindeck.tui.plot import navigate
from traindeck.tui.plot.cell import Cell
from traindeck.tui.plot.detail import DetailReader
from traindeck.tui.plot.layout import arrange
from traindeck.tui.plot.palette import HEADING, Palette, palette_of
from traindeck.tui.plot.strips import words_strip
from traindeck.tui.plot.view import Plot, View

Group = tuple[str, Sequence[Plot]]


class Charts(ScrollView, inherit_bindings=False):
    """Plots in a grid; one alone fills the widget and is zoomed with the wheel.

    The owner calls `refresh_data` when the stores have taken in new points. All plots share `view`.
    """

    # Dragging chooses a range of x, not text.
    ALLOW_SELECT = False

    DEFAULT_CSS = """
    Charts {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
    }
    Charts.-alone { scrollbar-gutter: auto; overflow-y: hidden; }
    """

    view: reactive[View] = reactive(View(), init=False)
    chosen: reactive[int | None] = reactive(None, init=False)
    """Number of the plot that keys act on, shown by its title."""

    class Opened(Message):
        """A plot of the grid was clicked twice."""

        def __init__(self, charts: Charts, number: int) -> None:
            super().__init__()
            self.charts = charts
            self.number = number

        @property
        def control(self) -> Charts:
            return self.charts

    def __init__(
        self,
        groups: Sequence[Group] = (),
        *,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.marked: frozenset[int] = frozenset()
        self._groups = list(groups)
        self._cells: list[Cell] = []
        self._by_row: dict[int, list[Cell]] = {}
        self._headings: dict[int, str] = {}
        self._palette: Palette | None = None
        self._laid_out: Size | None = None
        self._rows: dict[int, Strip] = {}
        self._fresh: set[int] = set()
        self._drag: tuple[int, int, int] | None = None
        self._detail = DetailReader(self.call_later, self.refresh_data)

    # What is shown

    @property
    def plots(self) -> list[Plot]:
        return [plot for _, plots in self._groups for plot in plots]

    @property
    def canvas(self) -> Size:
        """The room for charts: what the scrollbar leaves."""
        return self.scrollable_content_region.size

    @property
    def plot(self) -> Plot | None:
        """The plot that keys act on: the chosen one, or the only one."""
        plots = self.plots
        if self.chosen is not None and self.chosen < len(plots):
            return plots[self.chosen]
        return plots[0] if plots else None

    def show(self, groups: Sequence[Group], marked: frozenset[int] = frozenset()) -> None:
        """Show these plots, by group, instead of the present ones."""
        self._groups = list(groups)
        self.marked = marked
        count = len(self.plots)
        if self.chosen is not None:
            self.chosen = min(self.chosen, count - 1) if count > 1 else None
        self.set_class(count == 1, "-alone")
        self._laid_out = None
        self._forget()

    def refresh_data(self) -> None:
        """Draw again what changed of what is in sight. Cheap when nothing did."""
        if self._laid_out is None or not self._rows or not self.is_on_screen:
            self._forget()
            return
        top, bottom = self.scroll_offset.y, self.scroll_offset.y + self.canvas.height
        self._rows = {row: strip for row, strip in self._rows.items() if top <= row < bottom}
        self._fresh.clear()
        changed: dict[int, list[Cell]] = {}
        for cell in self.cells_in_sight():
            before = cell.strips
            after = self._draw(cell)
            if after is before:
                continue
            for place, strip in enumerate(after):
                if place >= len(before) or strip != before[place]:
                    changed.setdefault(cell.region.y + place, []).append(cell)
        if changed:
            for row in changed:
                self._rows.pop(row, None)
            if regions := self._changed_regions(changed):
                self.refresh(*regions)
        self._detail.look(self.cells_in_sight(), self.view)

    def _changed_regions(self, changed: dict[int, list[Cell]]) -> list[Region]:
        """What to send to the terminal again, in few pieces: each costs the compositor a pass.

        A row is sent as a whole if all its charts changed there, otherwise piece by piece.
        """
        regions: list[Region] = []
        for row in sorted(changed):
            cells = changed[row]
            whole = len(cells) == len(self._by_row[row])
            spans = [(0, self._width)] if whole else [(c.region.x, c.region.width) for c in cells]
            for x, width in spans:
                last = next((r for r in regions[-4:] if r.bottom == row and r.x == x), None)
                if last is not None and last.width == width:
                    regions[regions.index(last)] = last.grow((0, 0, 1, 0))
                else:
                    regions.append(Region(x, row, width, 1))
        window = Region(0, 0, *self.canvas)
        seen = [(region - self.scroll_offset).intersection(window) for region in regions]
        return [region for region in seen if region]

    @property
    def _width(self) -> int:
        return self._laid_out.width if self._laid_out else self.canvas.width

    def cells_in_sight(self) -> list[Cell]:
        if self._laid_out != self.canvas and self.canvas:
            self._lay_out()
        window = Region(0, self.scroll_offset.y, self.canvas.width, self.canvas.height)
        return [cell for cell in self._cells if cell.region.overlaps(window)]

    @property
    def reading_detail(self) -> bool:
        """Whether a part of a curve is being read again."""
        return self._detail.busy

    # Drawing

    @property
    def palette(self) -> Palette:
        if self._palette is None:
            self._palette = palette_of(self)
        return self._palette

    def render_lines(self, crop: Region) -> list[Strip]:
        if self._laid_out != self.canvas:
            self._lay_out()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        row = y + self.scroll_offset.y
        strip = self._rows.get(row)
        if strip is None:
            strip = self._rows[row] = self._make_row(row)
        return strip

    def _make_row(self, row: int) -> Strip:
        palette = self.palette
        width = self._width
        if row in self._headings:
            return words_strip([(self._headings[row], HEADING)], [], width, palette)
        segments: list[Segment] = []
        at = 0
        for cell in self._by_row.get(row, ()):
            region = cell.region
            strips = cell.strips if cell.number in self._fresh else self._draw(cell)
            if region.width == width:
                return strips[row - region.y]
            segments.append(Segment(" " * (region.x - at), palette[0]))
            segments += strips[row - region.y]
            at = region.right
        if at < width:
            segments.append(Segment(" " * (width - at), palette[0]))
        return Strip(segments, width)

    def _draw(self, cell: Cell) -> list[Strip]:
        number = cell.number
        self._fresh.add(number)
        selection = None
        if self._drag is not None and self._drag[0] == number:
            selection = self._drag[1:]
        return cell.draw(
            self.view,
            self.palette,
            chosen=number == self.chosen and len(self._cells) > 1,
            marked=number in self.marked,
            selection=selection,
        )

    def _lay_out(self) -> None:
        self._laid_out = self.canvas
        self._rows.clear()
        self._fresh.clear()
        counts = [len(plots) for _, plots in self._groups]
        with_headings = len(counts) > 1 and self.canvas.height >= 30
        grid = arrange(counts, self.canvas.width, self.canvas.height, with_headings)
        old = {id(cell.plot): cell for cell in self._cells}
        self._cells = []
        places = iter(grid.regions)
        for name, plots in self._groups:
            for plot in plots:
                title = plot.title
                if with_headings and name and title.startswith(f"{name}/"):
                    title = title[len(name) + 1 :]
                cell = old.get(id(plot)) or Cell(0, plot, Region(), title)
                cell.number, cell.region, cell.title = len(self._cells), next(places), title
                self._cells.append(cell)
        self._by_row = {}
        for cell in self._cells:
            for row in range(cell.region.y, cell.region.bottom):
                self._by_row.setdefault(row, []).append(cell)
        self._headings = {row: self._groups[group][0] or "other" for row, group in grid.headings}
        self.virtual_size = Size(self.canvas.width, grid.height)

    def _forget(self) -> None:
        self._rows.clear()
        self._fresh.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palette = None
        self._forget()

    def on_resize(self) -> None:
        self._laid_out = None
        self._forget()

    def watch_view(self) -> None:
        self._forget()
        self.call_after_refresh(self._look_for_detail)

    def watch_chosen(self) -> None:
        self._forget()
        if self.chosen is not None and self.chosen < len(self._cells):
            self.scroll_to_region(self._cells[self.chosen].region, animate=False)

    def _look_for_detail(self) -> None:
        self._detail.look(self.cells_in_sight(), self.view)

    # Moving about

    def choose(self, direction: str) -> None:
        """Choose the plot to the left, right, up or down of the chosen one."""
        if self.chosen is None or len(self._cells) < 2:
            self.chosen = 0 if len(self._cells) > 1 else None
            return
        here = self._cells[self.chosen].region
        if direction in ("left", "right"):
            step = 1 if direction == "right" else -1
            self.chosen = min(max(self.chosen + step, 0), len(self._cells) - 1)
            return
        sign = 1 if direction == "down" else -1
        beyond = [
            (abs(cell.region.y - here.y), abs(cell.region.center[0] - here.center[0]), number)
            for number, cell in enumerate(self._cells)
            if (cell.region.y - here.y) * sign > 0
        ]
        if beyond:
            self.chosen = min(beyond)[2]

    def zoom(self, factor: float, around: float | None = None) -> None:
        """Show `factor` times as much of the x axis: less than 1 zooms in."""
        if self.plot is not None:
            self.view = navigate.zoomed(self.view, self.plot, factor, around)

    def pan(self, share: float) -> None:
        """Move along x by a share of what is in sight."""
        if self.plot is not None:
            self.view = navigate.panned(self.view, self.plot, share)

    def move_cursor(self, direction: int) -> None:
        """To the next (1) or the previous (-1) point of the plot; the view follows."""
        plot = self.plot
        cell = next((cell for cell in self._cells if cell.plot is plot), None)
        if plot is None or cell is None or cell.frame is None:
            return
        self.view = navigate.with_cursor_moved(self.view, plot, cell.frame.columns, direction)

    # The mouse

    def _under(self, event: events.MouseEvent) -> tuple[int, Cell, Offset] | None:
        place = event.get_content_offset(self)
        if place is None:
            return None
        place += self.scroll_offset
        for cell in self._by_row.get(place.y, ()):
            if cell.region.contains_point(place):
                return cell.number, cell, place - cell.region.offset
        return None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        under = self._under(event)
        if self._drag is not None:
            number, start, _ = self._drag
            column = event.x + self.scroll_offset.x - self._cells[number].region.x
            self._drag = (number, start, column)
            self._forget()
        elif under is not None:
            self.view = navigate.with_cursor(self.view, under[1].x_at(under[2].x))

    def on_leave(self) -> None:
        if self._drag is None:
            self.view = navigate.with_cursor(self.view, None)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        under = self._under(event)
        if under is None or event.button != 1:
            return
        number, cell, place = under
        if len(self._cells) > 1:
            self.chosen = number
        if cell.x_at(place.x) is not None:
            self._drag = (number, place.x, place.x)
            self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._drag is None:
            return
        number, start, stop = self._drag
        self._drag = None
        self.release_mouse()
        cell = self._cells[number]
        if abs(stop - start) >= 2 and cell.frame is not None:
            left, right = cell.frame.left, cell.frame.left + cell.frame.columns - 1
            first, last = (min(max(column, left), right) for column in sorted((start, stop)))
            x0, x1 = cell.x_at(first), cell.x_at(last)
            if x0 is not None and x1 is not None:
                self.view = navigate.windowed(self.view, cell.plot, x0, x1)
        self._forget()

    def on_click(self, event: events.Click) -> None:
        under = self._under(event)
        if event.chain == 2 and under is not None:
            if len(self._cells) > 1:
                self.post_message(self.Opened(self, under[0]))
            else:
                self.view = navigate.with_window(self.view, None)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 0.8)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1.25)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        """Zoom at the pointer. In a grid the wheel scrolls, and zooms with Ctrl."""
        under = self._under(event)
        if under is None or not (len(self._cells) == 1 or event.ctrl):
            return
        event.stop()
        event.prevent_default()
        self.view = navigate.zoomed(self.view, under[1].plot, factor, under[1].x_at(under[2].x))


class Chart(Charts):
    """One plot."""

    def __init__(self, plot: Plot, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__([("", [plot])], id=id, classes=classes)
        self.add_class("-alone")
