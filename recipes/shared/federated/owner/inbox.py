"""Scripts that wait for somebody to read them: what was asked, and what was decided.

Each lies in `<owner's home>/inbox/<job>/` as it was submitted, with `request.json`; the decision is
`decision.json` beside it, with the hash of what was read. The screens and commands of traindeck
read the one and write the other.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindeck.core.base.environ import RUN_FOLDER
from traindeck.recipes.shared.federated.post.syft import PARAMS, SCRIPT, SyftRequest


@dataclass(frozen=True)
class Decision:
    """approve or refuse, and why."""

    decision: str
    reason: str


def ask(
    home: Path,
    request: SyftRequest,
    agreed: Path,
    price: Mapping[str, Any] | None,
    wait: Callable[[], None],
) -> Decision:
    """Lay a job into the inbox and wait until somebody has decided.

    price: see `payer.Payer.price`; wait is called between looks. What was decided of another script
    than this one does not count.
    """
    folder = home / "inbox" / request.name
    folder.mkdir(parents=True, exist_ok=True)
    script, sha256 = request.script, request.sha256
    (folder / SCRIPT).write_bytes(script)
    shutil.copyfile(request.code / PARAMS, folder / PARAMS)
    asked = {
        "v": 1,
        "job": request.name,
        "script": agreed.name,
        "sha256": sha256,
        "submitted_by": request.asked_by,
        "at": time.time(),
        "agreed": str(agreed),
        "privacy": price,
    }
    part = folder / ".request.json"
    part.write_text(json.dumps(asked))
    os.replace(part, folder / "request.json")
    of = (sha256, request.params_sha256)
    while (decision := _decided(folder / "decision.json", *of)) is None:
        wait()
    return decision


def how(root: Path, owners: Sequence[str], asked: str, job: str) -> str:
    """A line that says whose hands are waited for, and how one of them, `asked`, decides."""
    some = ", ".join(owners[:4]) + (f" and {len(owners) - 4} more" if len(owners) > 4 else "")
    if RUN_FOLDER in os.environ:
        run = Path(os.environ[RUN_FOLDER]).name
        what = (
            f"`i` in the app, or `traindeck approve {run} {asked}`,"
            f" `traindeck refuse {run} {asked} --reason R`"
        )
    else:
        what = f"a decision.json beside the script in {root / 'owners' / asked / 'inbox' / job}"
    return f"the script waits for approval by hand at {some}: {what} decides"


def _decided(path: Path, sha256: str, params_sha256: str) -> Decision | None:
    try:
        facts = json.loads(path.read_text())
        decision, reason = facts["decision"], str(facts.get("reason") or "")
        read = (facts["sha256"], facts.get("params_sha256", params_sha256))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if decision == "approve" and read == (sha256, params_sha256):
        return Decision("approve", reason)
    if decision == "approve":
        path.unlink(missing_ok=True)
        return None
    return (
        Decision("refuse", reason or "the data owner refused it") if decision == "refuse" else None
    )
