"""One process that loads the libraries once; every owner is forked from it, sharing that memory.

    python -m traindeck.recipes.shared.federated.owner.warm MODULE...

It reads one line of JSON, a list of owners' policies, from its standard input, writes one line for
each owner that has ended (`{"owner": name, "exit": code}`, negative for a signal). It ends with all
of them when its input ends: with the data scientist's process, however that ends.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from traindeck.recipes.shared.federated.job.script import die_with_parent
from traindeck.recipes.shared.federated.owner import owner

ENDING = 8.0  # seconds that owners have to end in


def main() -> None:
    die_with_parent()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    policies = json.loads(sys.stdin.readline())
    names: dict[int, str] = {}
    for facts in policies:
        pid = os.fork()
        if not pid:
            _be(facts)
        names[pid] = facts["name"]
    while names:
        readable, _, _ = select.select([0], [], [], 0.05)
        if readable and not os.read(0, 4096):
            break
        for name, code in _ended(names):
            _say({"owner": name, "exit": code})
    for pid in names:
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + ENDING  # what then lives is killed, as its parent ends
    while names and time.monotonic() < until:
        if not list(_ended(names)):
            time.sleep(0.01)


def _ended(names: dict[int, str]) -> Iterator[tuple[str, int]]:
    """Who has ended, and how; they are taken from the names."""
    while names:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        yield names.pop(pid), os.waitstatus_to_exitcode(status)


def _be(facts: dict[str, Any]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        log = os.open(
            Path(facts["root"]) / "owners" / facts["name"] / "output.log",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND,
            0o600,
        )
        null = os.open(os.devnull, os.O_RDONLY)
        for here, there in ((null, 0), (log, 1), (log, 2)):
            os.dup2(here, there)
        owner.main(facts)
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
