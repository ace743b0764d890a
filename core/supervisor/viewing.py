"""Pictures, histograms and texts of TensorBoard's files, kept as the run's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from traindeck.core.exchange.tensorboard.scalars import Rest
from traindeck.core.exchange.tensorboard.summaries import Histogram, Summaries
from traindeck.core.run import media

MOST_BYTES = 256 << 20  # of media.jsonl
MOST_STEPS = 1 << 62


class Viewing:
    """Writes media.jsonl of a run that knows nothing of traindeck.

    After an adoption all is read anew: what is at or before the last step of its name, as it was
    when we came, is left out.
    """

    def __init__(self, folder: Path, private: bool) -> None:
        self.problem = ""
        """Why something was left out, once."""
        self._folder = folder
        self._private = private
        self._files: dict[str, Summaries] = {}
        self._reached: dict[tuple[str, str], int] = {}
        with contextlib.suppress(OSError), (folder / media.LOG).open("rb") as file:
            for line in file:
                if shown := media.parse(line):
                    self._reached[shown.kind, shown.name] = shown.step

    def take(self, rest: Iterable[Rest]) -> None:
        """Keep what there is to be seen in values that are no scalars."""
        for one in rest:
            summaries = self._files.setdefault(one.prefix, Summaries())
            for tag, shown in summaries.read(one.value):
                name = one.prefix + tag
                try:
                    self._keep(media.private_name(name) if self._private else name, one.step, shown)
                except (OSError, ValueError) as error:
                    self.problem = self.problem or str(error)

    def _keep(self, name: str, step: int, shown: bytes | Histogram | str) -> None:
        kinds = {bytes: "image", str: "text", Histogram: "histogram"}
        kind = kinds[type(shown)]
        if abs(step) > MOST_STEPS or step <= self._reached.get((kind, name), -MOST_STEPS):
            return
        with contextlib.suppress(FileNotFoundError):
            if (self._folder / media.LOG).stat().st_size > MOST_BYTES:
                raise ValueError(f"{media.LOG} has {MOST_BYTES >> 20} MiB: no more is kept")
        if isinstance(shown, bytes):
            media.add_image(self._folder, name, step, shown)
        elif isinstance(shown, str):
            media.append(self._folder, kind, name, step, text=shown)
        else:
            content = {"edges": shown.edges, "counts": shown.counts}
            media.append(self._folder, kind, name, step, **content)
