"""What a supervisor sees to: memory, what is printed, who may be signalled, its own writing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import process_of, until, wait_for_state
from tests.core.supervisor.runs_that_end import MINE, Gate, supervisor_that
from traindeck.core import launch
from traindeck.core.base.files import read_json
from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.library import Library
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


def test_what_was_printed_while_nobody_watched_is_not_lost(
    home: Home, start: Callable[..., RunFolder], gate: Gate
) -> None:
    text = (
        "import json, subprocess\n"
        "for step in range(60):\n"
        "    print(json.dumps({'step': step, 'loss': step / 2}), flush=True)\n"
        "    if step == 30:\n"
        f"        subprocess.run(['bash', '-c', {gate.wait!r}])\n"
    )
    run = start(python=text)
    until(lambda: (document(run) or {}).get("metrics"), "the first points")
    os.kill(process_of(run, "supervisor").pid, signal.SIGKILL)
    gate.open()
    wait_for_state(run)
    library = Library(home)
    library.runs()
    library.tend()
    until(lambda: "state" in (run.exit() or {}), "the verdict")
    doc = document(run)
    assert doc is not None
    assert doc["metrics"]["loss"]["count"] == 60
    assert (doc["state"], doc["exit_code"]) == ("finished", 0)


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
        supervisor.request.ask("stop")
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


def test_out_of_memory_while_nobody_watched(
    home: Home, start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = "from traindeck.core.supervisor import oom\noom._kills = lambda: "
    with monkeypatch.context() as context:
        supervisor_that(context, f"{count}7")
        run = start(shell=f"sleep {MINE}9")
    child = process_of(run, "child")
    os.kill(process_of(run, "supervisor").pid, signal.SIGKILL)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: run.state()[0] == "killed")
    supervisor_that(monkeypatch, f"{count}8")
    library = Library(home)
    library.runs()
    library.tend()
    until(lambda: "state" in (run.exit() or {}), "the verdict")
    assert run.state()[0] == "out_of_memory"


def test_a_supervisor_that_cannot_say_who_it_is_starts_nothing(
    home: Home, start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "def full(path, value): raise OSError(28, 'No space left on device', str(path))\n"
        "s.write_json = full",
    )
    with pytest.raises(launch.LaunchError, match="No space left on device"):
        start(shell="sleep 0.1")
    assert list(home.runs.iterdir()) == []


def test_what_could_not_be_written_is_written_once_there_is_room(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "writes, write = [], s.write_json\n"
        "def full(path, value):\n"
        "    writes.append(value['state'])\n"
        "    if value['state'] == 'running' and writes.count('running') < 3:\n"
        "        raise OSError(28, 'No space left on device')\n"
        "    write(path, value)\n"
        "s.write_json = full",
    )
    run = start(shell="sleep 60")
    until(lambda: (read_json(run.path / "run.json") or {})["state"] == "running")


def test_a_clerk_holds_no_device(
    home: Home, start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "import time\ns.Clerks.provenance = lambda self: self._fork(lambda: time.sleep(600))",
    )
    core = min(os.sched_getaffinity(0))
    request = LaunchRequest(command=["true"], on=f"cpu:{core}")
    run = RunFolder(Path(launch.launch(home, request)["path"]))
    child = process_of(run, "child")
    until(lambda: not child.alive(), "the run's end")
    until(lambda: not holders(home), "the device's being free")
    supervisor = process_of(run, "supervisor")
    assert supervisor.alive() and descendants(supervisor.pid)  # it waits for its clerk
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
