"""Scripts that wait for somebody to read them, as the owner's process waits for the decision."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from traindeck.core.base.environ import RUN_FOLDER
from traindeck.core.federation import inbox
from traindeck.core.federation.inbox import PARAMS, Decision
from traindeck.core.federation.privacy import OwnerPrice
from traindeck.recipes.shared.federated.post.syft import SyftRequest


def ask(
    home: Path,
    request: SyftRequest,
    agreed: Path,
    price: OwnerPrice | None,
    wait: Callable[[], None],
) -> Decision:
    """Lay a job into the inbox of an owner's home, and wait until somebody has decided.

    wait is called between looks. What was decided of another script than this one does not count.
    """
    folder = home / "inbox" / request.name
    script, sha256 = request.script, request.sha256
    inbox.ask(
        folder,
        script=script,
        params=(request.code / PARAMS).read_bytes(),
        sha256=sha256,
        submitted_by=request.asked_by,
        agreed=agreed,
        price=price,
    )
    params_sha256 = request.params_sha256
    while (decision := inbox.answer(folder, sha256, params_sha256)) is None:
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
