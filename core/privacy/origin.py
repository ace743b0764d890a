"""Where a private checkpoint comes from: which runs were charged for the steps that it holds.

It stands beside the checkpoint, in `.<checkpoint>.origin.json`, sealed with the home's secret
(HMAC-SHA-256, RFC 2104) together with the checkpoint's bytes. Of one that is foreign, edited or has
none, nobody knows what was paid: whoever takes it up is charged for all of it.

Standard library only: recipes and the supervisor import this.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import read_json, reading, write_json
from traindeck.core.base.secret import home_secret
from traindeck.core.privacy.mechanism import Mechanism

if TYPE_CHECKING:
    from traindeck.core.privacy.ledger.account import Account

_PURPOSE = b"checkpoint origin\0"
_checkpoint = re.compile(r"checkpoint-(\d{1,9})\.").match

Charged = tuple[tuple[str, int], ...]
"""Runs, and how many of the steps each was charged for."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a private run says of a checkpoint that it writes.

    data       which contents it was trained on, by the home's key; empty when it was not said
    mechanism  of all steps that the model holds, those of earlier runs among them
    charged    the runs that were charged for them
    """

    run: str
    recipe: str
    dataset: str
    data: str
    mechanism: Mechanism
    charged: Charged


class Inherited(NamedTuple):
    """The private steps that a resumed model holds already, and who was charged for them."""

    steps: int = 0
    charged: Charged = ()

    def paid(self, account: Account, mechanism: Mechanism) -> Charged:
        """What of them this account holds, for these very runs and a mechanism of this kind."""
        runs = {run.id: run for run in account.runs}
        left, paid = self.steps, []
        for name, steps in self.charged:
            run = runs.get(name)
            if run and not run.quarantined and run.mechanism.like(mechanism):
                steps = min(steps, run.released, left)
                left -= steps
                paid.append((name, steps))
        return tuple(paid)

    def paid_steps(self, account: Account, mechanism: Mechanism) -> int:
        """How many steps that is."""
        return sum(steps for _, steps in self.paid(account, mechanism))


def beside(checkpoint: Path) -> Path:
    """Where its origin stands."""
    return checkpoint.with_name(f".{checkpoint.name}.origin.json")


def seal(checkpoint: Path, origin: Origin, home: Path) -> None:
    """Say where a checkpoint comes from. Raises OSError, TraindeckError for a damaged secret."""
    content = {
        "v": 1,
        "run": origin.run,
        "recipe": origin.recipe,
        "dataset": origin.dataset,
        "data": origin.data,
        "mechanism": origin.mechanism.to_json(),
        "charged": [list(one) for one in origin.charged],
        "sha256": _sha256(checkpoint),
    }
    write_json(beside(checkpoint), {**content, "seal": _seal(content, home)})


def read(checkpoint: Path, home: Path) -> Origin | None:
    """Where a checkpoint comes from; None unless this home wrote it, as it is now."""
    content = read_json(beside(checkpoint))
    if content is None:
        return None
    said = content.pop("seal", None)
    try:
        if not isinstance(said, str) or not hmac.compare_digest(said, _seal(content, home)):
            return None
        if content["sha256"] != _sha256(checkpoint):
            return None
        return Origin(
            content["run"],
            content["recipe"],
            content["dataset"],
            content["data"],
            Mechanism.from_json(content["mechanism"]),
            tuple((str(run), int(steps)) for run, steps in content["charged"]),
        )
    except (OSError, TraindeckError, KeyError, TypeError, ValueError):
        return None


def inherited(params: Mapping[str, object], cwd: str, home: Path) -> Inherited:
    """What the checkpoint holds that the parameter `resume` means, before anybody opens it.

    Of one of unknown origin the name tells the steps: what is said too much there makes the run
    stop early.
    """
    path, steps = resumed(params, cwd)
    origin = read(path, home) if path else None
    return Inherited(steps, origin.charged) if origin else Inherited(steps)


def resumed(params: Mapping[str, object], cwd: str = "") -> tuple[Path | None, int]:
    """The checkpoint that the parameter `resume` means, and its steps by the name of its file.

    The number in the name is that of steps, or of rounds where the recipe has rounds.
    """
    given = params.get("resume")
    if not isinstance(given, str) or not given:
        return None, 0
    place = Path(cwd, Path(given).expanduser())
    try:
        folder = place / "artifacts" if (place / "artifacts").is_dir() else place
        files = list(folder.iterdir()) if folder.is_dir() else [place]
    except OSError:
        return None, 0
    numbers = {path: int(match[1]) for path in files if (match := _checkpoint(path.name))}
    if not numbers:
        return (place if place.is_file() else None), 0
    newest = max(numbers, key=lambda path: numbers[path])
    steps = params.get("local_steps", 1) if "rounds" in params else 1
    number = numbers[newest]
    return newest, number * steps if isinstance(steps, int) else number


def _sha256(path: Path) -> str:
    with reading(path, follow=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(content: Mapping[str, Any], home: Path) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hmac.digest(home_secret(home), _PURPOSE + text.encode(), "sha256").hex()
