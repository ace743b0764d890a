"""How approved scripts end, and that nothing of them stays."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.federated.sandboxed import BY_C, IN_SESSION, run
from traindeck.recipes.shared.federated.job import sandbox

SLEEP = f"60.{os.getpid()}"
"""An argument by which a script's child is known: its number is another within its namespace."""


@pytest.mark.skipif(sandbox.version() < 6, reason="this kernel confines no signals")
def test_a_script_sends_no_signal_to_its_owner(tmp_path: Path) -> None:
    script = BY_C + "def try_it(here): return {'kill': call('kill', os.getppid(), 0)}\n"
    [ran] = run(tmp_path, script + IN_SESSION)
    assert ran.result == {"kill": 1}


def test_how_a_script_ends_is_told(tmp_path: Path) -> None:
    alone = "from traindeck.recipes.shared.federated.post import wire\n"
    ended = run(
        tmp_path,
        "print('hello')",
        "raise SystemExit(3)",
        "raise SystemExit('no')",
        "1 / 0",
        "import os\nos.kill(os.getpid(), 9)",
        alone
        + "import os, socket, subprocess, time\n"
        + f"child = subprocess.Popen(['sleep', '{SLEEP}'])\n"
        + "end = socket.socket(fileno=int(os.environ['TRAINDECK_JOB_SOCKET']))\n"
        + "wire.receive(end)\n"
        + "wire.send(end, {'type': 'stop'})\n"
        + "time.sleep(60)\n",
    )
    assert [ran.exit for ran in ended] == [0, 3, 1, 1, -9, -9]
    assert ended[0].output.endswith("hello\n")
    assert "ZeroDivisionError" in ended[3].errors
    for ran in ended:
        assert not _runs(ran.pid)
    assert not _sleeping(), "what a script has started ends with it"


def test_what_a_script_has_left_behind_ends_with_it(tmp_path: Path) -> None:
    [ran] = run(
        tmp_path,
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if not os.fork():\n"
        "        open('tmp/left', 'w').write('here')\n"
        f"        os.execlp('sleep', 'sleep', '{SLEEP}')\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "while not os.path.exists('tmp/left') or not os.path.getsize('tmp/left'):\n"
        "    time.sleep(0.01)\n",
    )
    assert ran.exit == 0, ran.errors
    assert not _sleeping()


def test_a_script_fills_no_disk_with_what_it_prints_and_leaves_no_core(tmp_path: Path) -> None:
    script = """
    import resource
    def try_it(here):
        found = (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)
        return {"limits": [resource.getrlimit(each) for each in found]}
    """
    [ran] = run(tmp_path, textwrap.dedent(script) + IN_SESSION)
    assert ran.result == {"limits": [[0, 0], [1 << 30, 1 << 30]]}


def _sleeping() -> list[int]:
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if SLEEP in process.cmdline() and _runs(process.pid):
                left.append(process.pid)
    return left


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_jobs_do_not_see_each_other(tmp_path: Path) -> None:
    first = "import os\nos.environ['LEFT'] = 'behind'\nimport json\njson.left = 'behind'\n"
    script = "import json, os\ndef try_it(here):\n"
    script += "    return {'left': hasattr(json, 'left') or 'LEFT' in os.environ}\n"
    _, ran = run(tmp_path, first, script + IN_SESSION)
    assert ran.result == {"left": False}


def test_outside_of_a_job_a_script_says_so(tmp_path: Path) -> None:
    words = "from traindeck.recipes.shared.federated.job import job\nwith job.session(): pass"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TRAINDECK_")}
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, env=clean, timeout=60
    )
    assert "this script is run by a data owner that has approved it" in done.stderr
