"""The app as the server starts it, a process for each page."""

from __future__ import annotations

import os

OF_THE_PAGE = (
    "TEXTUAL_DRIVER",
    "TEXTUAL_FPS",
    "TEXTUAL_COLOR_SYSTEM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "COLUMNS",
    "ROWS",
)
"""What textual-serve tells the app by; runs that are launched on the page are not to have it."""


def main() -> None:
    from traindeck.core.base.home import Home
    from traindeck.tui.app import TraindeckApp

    app = TraindeckApp(Home.default())
    size = int(os.environ["COLUMNS"]), int(os.environ["ROWS"])
    for name in OF_THE_PAGE:
        os.environ.pop(name, None)
    app.run(size=size)


if __name__ == "__main__":
    main()
