"""`run --wait` where nobody sits: as a container's first process, a service, a cron job, nohup."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND, PATIENCE, process_of, until, wait_for_state
from tests.core.supervisor.runs_that_end import MINE, living
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder

pytestmark = pytest.mark.slow

UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "--pid", "--fork", "--mount-proc"]
SAVES = (
    "import signal, sys, time\n"
    "def save(*_):\n"
    "    print('saved', flush=True); sys.exit(int(sys.argv[1]))\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "print('training', flush=True)\n"
    "while True: time.sleep(0.05)\n"
)


def _isolates() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


isolated = pytest.mark.skipif(not _isolates(), reason="needs a pid namespace of its own")


def begun(home: Home) -> RunFolder:
    run = RunFolder(until(lambda: next(home.runs.iterdir(), None)))
    log = run.path / "output.log"
    until(lambda: log.exists() and b"training" in log.read_bytes(), "its first line")
    return run


def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int(until(lambda: children.read_text().split(), "a child")[0])


@isolated
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("run", "--wait", "--", "true"), 0),
        (("run", "--wait", "--", "bash", "-c", "exit 3"), 1),
        (("run", "--wait", "--", "bash", "-c", "setsid -f sleep 0.3; exit 0"), 0),
        (("run", "--", "bash", "-c", "sleep 0.5; echo all"), 0),
        (("run", "--wait", "no-such-recipe"), 3),
        (("ls",), 0),
    ],
)
def test_the_first_process_of_a_container_exits_as_the_command_does(
    home: Home, words: tuple[str, ...], code: int
) -> None:
    done = subprocess.run(
        [*UNSHARE, str(COMMAND), *words], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == code, done
    for folder in home.runs.iterdir():  # nothing was cut short when the container ended
        run = RunFolder(folder)
        assert (run.spec() or {})["state"] in ("finished", "failed")
        assert "state" in (run.exit() or {})


@isolated
@pytest.mark.parametrize("words", [("run", "--wait"), ("run",)], ids=["waiting", "left alone"])
def test_a_container_that_is_stopped_stops_its_run(home: Home, words: tuple[str, ...]) -> None:
    command = [*UNSHARE, str(COMMAND), *words, "--", sys.executable, "-c", SAVES, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as outer:
        run = begun(home)
        first = child_of(outer.pid)
        os.kill(first, signal.SIGTERM)
        code = outer.wait(PATIENCE)
    assert code == 143 or (code == 0 and "--wait" not in words)  # it may have ended before
    spec = run.spec()
    assert spec is not None
    assert spec["state"] == "stopped"
    assert (run.path / "output.log").read_bytes() == b"training\nsaved\n"


@isolated
def test_the_first_process_reaps_what_is_orphaned(home: Home) -> None:
    text = "for i in 1 2 3 4 5; do setsid -f true; done; sleep 0.5; ps -eo stat,ppid,args > $OUT"
    out = home.root / "ps"
    command = [*UNSHARE, str(COMMAND), "run", "--wait", "--", "bash", "-c", text]
    subprocess.run(command, env={**os.environ, "OUT": str(out)}, check=True, capture_output=True)
    lines = [line.split() for line in out.read_text().splitlines()[1:]]
    assert [line for line in lines if line[0].startswith("Z") and line[1] == "1"] == []


@pytest.mark.parametrize("code", [0, 7])
def test_a_service_that_is_stopped_stops_its_run_and_waits_for_it(home: Home, code: int) -> None:
    command = [COMMAND, "run", "--wait", "--", sys.executable, "-c", SAVES, str(code)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    ) as service:
        run = begun(home)
        supervisor = process_of(run, "supervisor")
        service.terminate()
        assert service.wait(PATIENCE) == 143
        assert not supervisor.alive()
    assert wait_for_state(run)["state"] == "stopped"
    assert (run.path / "output.log").read_bytes() == b"training\nsaved\n"


def test_a_service_whose_every_process_is_sent_sigterm(home: Home) -> None:
    """As systemd does (KillMode=control-group): all that the service started has it at once."""
    command = [COMMAND, "run", "--wait", "--", sys.executable, "-c", SAVES, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as service:
        run = begun(home)
        for who in ("supervisor", "keeper", "scribe", "child"):
            os.kill(process_of(run, who).pid, signal.SIGTERM)
        service.terminate()
        code = service.wait(PATIENCE)
    assert (wait_for_state(run)["state"], code) in (("stopped", 143), ("finished", 0))
    assert (run.path / "output.log").read_bytes() == b"training\nsaved\n"


def test_a_cron_job_has_no_terminal_no_home_and_hardly_a_path(home: Home) -> None:
    environment = {"PATH": "/usr/bin:/bin", "TRAINDECK_HOME": str(home.root)}
    done = subprocess.run(
        [COMMAND, "run", "--wait", "--", "sh", "-c", "echo fine; exit 0"],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done
    assert "finished" in done.stdout


def test_nohup_outlives_the_terminal(home: Home, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    text = f"echo training; until [ -e {gate} ]; do sleep 0.05; done; exit 4"
    with subprocess.Popen(
        ["nohup", COMMAND, "run", "--wait", "--", "sh", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as job:
        begun(home)
        os.killpg(job.pid, signal.SIGHUP)
        gate.touch()
        assert job.wait(PATIENCE) == 1
    assert living(f"sleep {MINE}") == []


def test_what_interrupts_the_waiting_leaves_the_run(
    home: Home, traindeck: Callable[..., object]
) -> None:
    command = [COMMAND, "run", "--wait", "--", sys.executable, "-c", SAVES, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        run = begun(home)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(PATIENCE) == 130
    assert run.state()[0] == "running"
    traindeck("kill", run.id)
    wait_for_state(run)
