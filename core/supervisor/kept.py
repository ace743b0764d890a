"""What a recipe's run executes: the script as it was launched, whatever it says by now.

Where the script still is what was kept, it is started as it lies there. Where it was changed or has
gone while the run waited, the copy is: under the script's own path, so that what it imports from
its folder and reads beside it is found (see `kept_script`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from traindeck.core.base.files import read_bounded
from traindeck.core.run import events
from traindeck.core.run.spec import Spec

MOST_BYTES = 64 << 20
START = Path(__file__).with_name("kept_script.py")


def kept_command(folder: Path, spec: Spec) -> list[str]:
    """The command to start; the run's events note it if it is not the one that was launched."""
    argv, script = list(spec["argv"]), spec.get("script")
    if not script or argv[1:2] != [script]:
        return argv
    copy = folder / "source" / Path(script).name
    try:
        launched = read_bounded(copy, MOST_BYTES)
    except OSError:
        return argv
    try:
        if read_bounded(Path(script), MOST_BYTES, follow=True) == launched:
            return argv
        what = "was changed"
    except OSError:
        what = "has gone"
    note = f"{script} {what} while the run waited: it runs as it was launched, see {copy}"
    with contextlib.suppress(OSError):
        events.append(folder / "events.jsonl", "note", text=note)
    return [argv[0], str(START), script, str(copy), *argv[2:]]
