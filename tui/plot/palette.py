"""What style numbers look like in the theme at hand.

The curves' colors are those of Okabe and Ito (Color Universal Design, 2008), which people with any
common color blindness tell apart, made lighter on dark and darker on light backgrounds until each
stands out by 3:1. No meaning hangs on color alone: every curve also has a marker.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style
from textual.color import Color
from textual.widget import Widget

from traindeck.tui.plot import raster

ON_DARK = ("#56b4e9", "#f0a020", "#2fc39a", "#e08fc0", "#f0e442", "#f0703a", "#9aa4ff", "#c8c8c8")
ON_LIGHT = ("#0072b2", "#b45f00", "#007a5a", "#a3437c", "#7d6b00", "#c8401a", "#4b4fc4", "#555555")
ON_ANSI = ("bright_blue", "yellow", "green", "magenta", "cyan", "red", "bright_yellow", "white")
COLORS = len(ON_DARK)

# Styles of the words around a plot, beyond those of `raster`.
TITLE, TEXT, TITLE_CHOSEN, HEADING = range(0x90, 0x94)

_SHARES = {
    raster.PLAIN: 0.0,
    raster.AXIS: 0.3,
    raster.LABEL: 0.6,
    raster.GRID: 0.14,
    raster.CURSOR: 0.6,
    raster.HINT: 0.5,
    TITLE: 0.95,
    TEXT: 0.8,
}
_FAINT, _TINT = 0.45, 0.11  # of a color, in its envelope and behind its line there
_FLAGS = raster.HIGHLIGHT | raster.SELECTED | raster.SHADED


class Palette(dict[int, Style]):
    """Style number to Rich style, made when first asked for."""

    def __init__(
        self, base: Style, background: Color, foreground: Color, accents: Mapping[str, Color] | None
    ) -> None:
        """
        base                    what everything is drawn on: its background color
        background, foreground  to mix shades from
        accents                 the theme's `error` and `primary`; None for a terminal's own 16
                                colors, which cannot be mixed
        """
        super().__init__()
        self._base = base
        self._background, self._foreground = background, foreground
        self._accents = accents

    def __missing__(self, number: int) -> Style:
        make = self._ansi if self._accents is None else self._mixed
        style = self[number] = self._base + make(number & ~_FLAGS, number & _FLAGS)
        return style

    def _mixed(self, number: int, flags: int) -> Style:
        assert self._accents is not None
        background = self._background
        if flags & raster.SELECTED:
            background = background.blend(self._accents["primary"], 0.3)
        elif flags & raster.HIGHLIGHT:
            background = background.blend(self._foreground, 0.2)
        elif flags:
            background = background.blend(self._curve(number), _TINT)
        bold = number in (TITLE, TITLE_CHOSEN, HEADING) or (flags and number == raster.CURSOR)
        if number == raster.CURSOR and flags:
            color = self._foreground
        elif number == raster.ALERT:
            color = self._accents["error"]
        elif number == HEADING:
            color = self._accents["primary"]
        elif number == TITLE_CHOSEN:
            color, background = self._background, self._accents["primary"]
            color = background.get_contrast_text(1.0)
        elif number in _SHARES:
            color = self._background.blend(self._foreground, _SHARES[number])
        else:
            color = self._curve(number)
        return Style(
            color=color.rich_color,
            bgcolor=background.rich_color if flags or number == TITLE_CHOSEN else None,
            bold=bool(bold) or None,
        )

    def _curve(self, number: int) -> Color:
        colors = ON_DARK if self._background.brightness < 0.5 else ON_LIGHT
        faint = number >= raster.FAINT
        index = number - (raster.FAINT if faint else raster.LINE)
        color = Color.parse(colors[index % len(colors)])
        return self._background.blend(color, _FAINT) if faint else color

    def _ansi(self, number: int, flags: int) -> Style:
        marked = flags & (raster.HIGHLIGHT | raster.SELECTED)
        reverse = True if marked or number == TITLE_CHOSEN else None
        if number == raster.GRID:
            return Style(color="bright_black", dim=True, reverse=reverse)
        if number in (raster.AXIS, raster.HINT, raster.LABEL):
            return Style(dim=True, reverse=reverse)
        if number in (TITLE, TITLE_CHOSEN, HEADING):
            return Style(bold=True, reverse=reverse)
        if number == raster.ALERT:
            return Style(color="bright_red", reverse=reverse)
        if number < raster.LINE or number >= TITLE:
            return Style(reverse=reverse)
        faint = number >= raster.FAINT
        index = number - (raster.FAINT if faint else raster.LINE)
        # Under the cursor a curve is bold: reversed dots would fill their cells.
        bold = bool(flags & raster.HIGHLIGHT)
        selected = bool(flags & raster.SELECTED)
        color = ON_ANSI[index % len(ON_ANSI)]
        return Style(color=color, dim=faint and not bold, bold=bold, reverse=selected)


def palette_of(widget: Widget) -> Palette:
    """The palette for drawing on `widget` in the app's present theme."""
    base = Style(bgcolor=widget.rich_style.bgcolor)
    _, _, background, foreground = widget.colors
    if widget.app.native_ansi_color:
        return Palette(base, background, foreground, None)
    variables = widget.app.theme_variables
    accents = {name: Color.parse(variables[name]) for name in ("error", "primary")}
    return Palette(base, background, background + foreground, accents)
