"""Every way a run can end, each in the one true state with its reason, and nothing left behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND, PATIENCE, process_of, until, wait_for_state
from tests.core.supervisor.runs import LOGGING, MINE, living, supervisor_that
from traindeck.core import control, launch
from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.document import document
from traindeck.core.devices.proctree import descendants
from traindeck.core.launch import LaunchRequest
from traindeck.core.queue.slots import holders
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import summarize
from traindeck.core.run.spec import new_spec
from traindeck.core.run.state import Verdict
from traindeck.core.supervisor import keeper, oom
from traindeck.core.supervisor.charge import Charge
from traindeck.core.supervisor.supervisor import Supervisor


def test_finished(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(shell="echo fine"))
    assert (doc["state"], doc["exit_code"], doc["reason"]) == ("finished", 0, "")


def test_failed_says_its_code_and_last_words(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(python="raise ValueError('no such layer')"))
    assert (doc["state"], doc["exit_code"]) == ("failed", 1)
    assert doc["reason"] == "exit code 1: ValueError: no such layer"


def test_an_exit_code_like_a_signal_is_still_an_exit_code(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(shell="exit 137"))
    assert (doc["state"], doc["exit_code"]) == ("failed", 137)


def test_a_command_that_does_not_exist(home: Home) -> None:
    doc = launch.launch(home, LaunchRequest(command=["no-such-command"]))
    doc = wait_for_state(RunFolder(Path(doc["path"])))
    assert doc["state"] == "failed"
    assert "could not be started: No such file or directory: no-such-command" in doc["reason"]


def test_stopped_within_the_grace(start: Callable[..., RunFolder]) -> None:
    run = start(python=LOGGING, grace=PATIENCE)
    until(lambda: (run.path / "points.bin").exists() and (run.path / "points.bin").stat().st_size)
    control.stop(run.path)
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("stopped", 0)
    assert "on request" in doc["reason"]
    assert b"checkpoint saved" in (run.path / "output.log").read_bytes()


def test_killed_after_the_grace_with_all_it_started(start: Callable[..., RunFolder]) -> None:
    run = start(
        shell=f"trap '' TERM; setsid -f sleep {MINE}1; (setsid sleep {MINE}2 &); sleep {MINE}3; :"
    )
    until(lambda: len(living(f"^sleep {MINE}")) == 3)
    control.stop(run.path)
    doc = wait_for_state(run)
    assert doc["state"] == "killed"
    assert "SIGKILL" in doc["reason"]
    assert living(f"^sleep {MINE}") == []


def test_what_a_finished_run_left_is_ended(start: Callable[..., RunFolder]) -> None:
    run = start(
        shell=f"setsid -f bash -c 'trap \"\" TERM; while :; do sleep 0.{MINE}; done'; exit 3"
    )
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 3)
    assert living(f"sleep 0.{MINE}") == []


def test_kill_on_request(start: Callable[..., RunFolder]) -> None:
    run = start(python=LOGGING)
    process_of(run, "child")
    control.kill(run.path)
    doc = wait_for_state(run)
    assert doc["state"] == "killed"
    assert "on request" in doc["reason"]
    with pytest.raises(control.ControlError, match="does not run"):
        control.stop(run.path)


def test_killed_by_another_loses_no_flushed_point(start: Callable[..., RunFolder]) -> None:
    run = start(python=LOGGING)
    points = run.path / "points.bin"
    until(lambda: points.exists() and points.stat().st_size > 28 * 200)
    flushed = points.read_bytes()
    os.kill(process_of(run, "child").pid, signal.SIGKILL)
    doc = wait_for_state(run)
    assert doc["state"] == "killed"
    assert "SIGKILL, not sent by traindeck" in doc["reason"]
    assert points.read_bytes().startswith(flushed)
    assert doc["metrics"]["loss"]["count"] >= len(flushed) // 28


def test_a_crash_names_its_signal(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(shell="kill -SEGV $$"))
    assert doc["state"] == "killed"
    assert "SIGSEGV" in doc["reason"]


def test_terminal_closed(home: Home) -> None:
    manager, terminal = pty.openpty()
    command = [COMMAND, "run", "--wait", "--", "bash", "-c", "sleep 1; echo survived"]
    shell = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    run = RunFolder(until(lambda: next(home.runs.iterdir(), None)))
    process_of(run, "child")
    os.close(manager)
    os.killpg(shell.pid, signal.SIGHUP)
    shell.wait()
    doc = wait_for_state(run)
    assert doc["state"] == "finished"
    assert (run.path / "output.log").read_bytes() == b"survived\n"


def test_clock_set_back(start: Callable[..., RunFolder]) -> None:
    run = start(shell="sleep 0.3")
    wait_for_state(run)
    end = read_json(run.path / "exit.json")
    assert end is not None
    end["ended"] -= 86400  # as if the clock had been set back a day while it ran
    write_json(run.path / "exit.json", end)
    doc = document(run)
    assert doc is not None
    assert doc["state"] == "finished"
    assert doc["seconds"] is not None
    assert 0.2 < doc["seconds"] < 60


CGROUP = Path("/sys/fs/cgroup/memory/traindeck-test")


@pytest.mark.skipif(
    os.geteuid() != 0 or not CGROUP.parent.is_dir(), reason="needs a writable memory cgroup (v1)"
)
def test_out_of_memory(start: Callable[..., RunFolder]) -> None:
    CGROUP.mkdir(exist_ok=True)
    (CGROUP / "memory.limit_in_bytes").write_text(str(100 << 20))
    hog = "b = bytearray(400 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1"
    run = start(shell=f"echo $$ > {CGROUP}/cgroup.procs; exec python3 -c '{hog}'")
    doc = wait_for_state(run)
    assert doc["state"] == "out_of_memory"
    assert "out-of-memory" in doc["reason"]


def test_what_a_run_writes_into_its_events_harms_nobody(start: Callable[..., RunFolder]) -> None:
    bad = (
        "[" * 99_999
        + '\\n{"v":1,"type":"error"}\\n{"v":1,"type":"artifact"}\\n[]\\n{"v":1,"type":3}\\n'
    )
    run = start(
        python=f"import os; open(os.environ['TRAINDECK_RUN_FOLDER'] + '/events.jsonl', 'a')"
        f".write('{bad}'); raise SystemExit(3)"
    )
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 3)
    assert "supervisor" not in doc["reason"]


def test_provenance_of_a_run_that_ends_at_once(
    start: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init"], ["commit", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    for seconds in (0, 0.02, 0.05, 0.1):
        run = start(shell=f"sleep {seconds}")
        wait_for_state(run)
        until(lambda: not process_of(run, "supervisor").alive())  # noqa: B023
        kept = read_json(run.path / "source" / "provenance.json")
        assert kept is not None
        assert kept["git"]["dirty"] is False
        assert len(kept["git"]["commit"]) == 40


def test_a_run_that_became_another_users_is_told_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setattr(os, "kill", refuse)
        keeper._sweep(grace=0.0)  # comes back, though something is left
        child = Identity.of(process.pid)
        assert child is not None
        spec = new_spec(state="running", child=child.to_json(), grace=0.0)
        supervisor = Supervisor(Charge(tmp_path, -1, -1, spec, Verdict("running", "", None)))
        monkeypatch.setattr(supervisor.clerks, "sync", lambda: None)
        supervisor._ask("stop")
        for _ in range(3):
            supervisor._enforce(None, child)
        assert supervisor.spec["state"] == "stopping"
        assert "another user's" in supervisor.spec["reason"]
        supervisor._kill_orphans()
        assert process.pid in supervisor.left
        monkeypatch.undo()
        process.kill()


def test_only_a_kill_of_the_last_seconds_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now, kills = 0.0, 3
    monkeypatch.setattr(oom, "_kills", lambda: kills)
    monkeypatch.setattr(oom.time, "monotonic", lambda: now)
    watch = oom.OomWatch(None)
    kills = 4
    assert "1 out-of-memory kill" in watch.evidence()
    for _ in range(oom.LAST_SECONDS):
        now += 1.0
        watch.tick()
    assert watch.evidence() == ""


def test_a_clerk_holds_no_device(
    home: Home, start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "import time\ns.Clerks.provenance = lambda self: self._fork(lambda: time.sleep(30))",
    )
    core = min(os.sched_getaffinity(0))
    request = LaunchRequest(command=["true"], on=f"cpu:{core}")
    run = RunFolder(Path(launch.launch(home, request)["path"]))
    wait_for_state(run)
    until(lambda: not holders(home), "the device's being free")
    supervisor = process_of(run, "supervisor")
    assert supervisor.alive()
    for pid in (supervisor.pid, *descendants(supervisor.pid)):
        os.kill(pid, signal.SIGKILL)


def test_what_is_printed_faster_than_one_tick_reads_is_read_on_at_once(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "from traindeck.core.supervisor import intake\n"
        "intake.READ_BYTES, s.TICK_SECONDS = 4096, 3.0",
    )
    lines = 50 * 4096 // 40
    pad = "x" * 16
    run = start(
        python=f'print(\'\\n\'.join(\'{{"step": %d, "pad": "{pad}", "a": 1}}\' % n'
        f" for n in range({lines})), flush=True); import time; time.sleep({MINE})"
    )
    until(lambda: summarize(run.path).get("a", {}).get("count", 0) == lines, "all points")
