"""What somebody may try who can write to the drive, or whose script an owner has approved."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("syft", reason="syft is not installed")
from tests.federated import federated_tools as tools
from traindeck.core import track
from traindeck.recipes.shared.federated.errors import Failed, Refused
from traindeck.recipes.shared.federated.hiding import boxes
from traindeck.recipes.shared.federated.hiding.session import default_threshold, fewest_summed
from traindeck.recipes.shared.federated.job import sandbox
from traindeck.recipes.shared.federated.mpc import psi
from traindeck.recipes.shared.federated.mpc.party import credentials, free_ports
from traindeck.recipes.shared.federated.owner import owner
from traindeck.recipes.shared.federated.post import drive, mail, plainfile, wire
from traindeck.recipes.shared.federated.post.drive import FolderStore
from traindeck.recipes.shared.federated.scientist.founding import Founding
from traindeck.recipes.shared.federated.scientist.processes import Processes

SCIENTIST = mail.SCIENTIST


class Plain:
    """Letters in the clear."""

    def seal(self, to: str, data: bytes) -> bytes:
        return data

    def unseal(self, sender: str, data: bytes) -> bytes:
        return data


class TestDrive:
    """Somebody else writes to the folder."""

    def store(self, root: Path) -> FolderStore:
        from syft.sync.connections.drive.mock_drive_service import MockDriveFile

        store = FolderStore(root)
        store.add_file(MockDriveFile(id="a-1", name="a file", content=b"content"))
        return store

    def test_what_is_no_object_is_passed_over(self, tmp_path: Path) -> None:
        store = self.store(tmp_path)
        whole = (tmp_path / "a-1.object").read_bytes()
        (tmp_path / "empty.object").touch()
        (tmp_path / "text.object").write_text("[1]\n")
        (tmp_path / "deep.object").write_text("[" * 100_000)
        (tmp_path / "bare.object").write_text("{}\n")
        (tmp_path / "odd name!.object").write_bytes(whole)
        (tmp_path / "link.object").symlink_to(tmp_path / "a-1.object")
        (tmp_path / "folder.object").mkdir()
        os.mkfifo(tmp_path / "pipe.object")
        (tmp_path / "b-2.object").write_bytes(whole)  # says that it is a-1
        assert [file.id for file in store.values()] == ["a-1"]

    def test_an_object_cannot_name_another_place(self, tmp_path: Path) -> None:
        root = tmp_path / "drive"
        self.store(root)
        facts = json.loads((root / "a-1.object").read_bytes().partition(b"\n")[0])
        facts["id"] = "/../../stolen"
        (root / "c-3.object").write_bytes(json.dumps(facts).encode() + b"\nmine")
        assert FolderStore(root).get_file("c-3") is None
        assert [path.name for path in tmp_path.iterdir()] == ["drive"]

    def test_who_keeps_the_folder_locked_is_not_waited_for_for_ever(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = self.store(tmp_path)
        monkeypatch.setattr(drive, "LOCKED_SECONDS", 0.05)
        with (tmp_path / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(TimeoutError, match="locked"):
                store.delete_file("a-1")
        store.delete_file("a-1")
        assert not store.values()


def test_a_file_is_not_written_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plainfile.secrets, "token_hex", lambda size: "guessed")
    own = tmp_path / "own"
    own.write_text("mine")
    (tmp_path / ".letter.guessed").symlink_to(own)
    with pytest.raises(FileExistsError):
        plainfile.replace(tmp_path / "letter", b"another's")
    assert own.read_text() == "mine"
    (tmp_path / "linked").symlink_to(own)
    monkeypatch.setattr(plainfile.secrets, "token_hex", lambda size: "new")
    plainfile.replace(tmp_path / "linked", b"another's")
    assert own.read_text() == "mine"
    assert stat.S_IMODE((tmp_path / "linked").lstat().st_mode) == 0o600


def test_a_name_that_is_no_text_stops_nobody(tmp_path: Path) -> None:
    box = mail.Mailbox(tmp_path, "owner-1", Plain(), "s")
    for name in (b"0000000001-\xff", b"0000000002-\x1b[31m", b"letter"):
        (tmp_path / "owner-1" / os.fsdecode(name)).touch()
    for _ in range(3):
        with pytest.raises(mail.BadLetter) as refused:
            box.next()
        assert str(refused.value).isprintable() and str(refused.value).isascii()
    assert box.next() is None


def test_a_frame_that_drips_is_not_waited_for_for_ever() -> None:
    ours, theirs = socket.socketpair()

    def drip() -> None:
        for _ in range(1000):  # far longer than a receiver waits that gives up in time
            try:
                theirs.sendall(b"\1")
            except OSError:
                return
            time.sleep(0.05)

    with ours, theirs:
        ours.settimeout(0.2)
        dripping = threading.Thread(target=drip)
        dripping.start()
        with pytest.raises(TimeoutError):
            wire.receive(ours)
        assert dripping.is_alive() and ours.gettimeout() == 0.2
        ours.close()
        dripping.join()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Founding]:
    """A federation that has not started its owners."""
    with tools.as_before(), track.Run(folder=tmp_path) as run:
        yield Founding(
            run,
            tools.JOB,
            dataset="digits",
            shards=tools.shards(10, 10, 10),
            mock=tools.MOCK,
            params={},
            size=tools.SIZE,
        )


def test_owners_do_not_get_the_environment(made: Founding, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job can read the first environment of its process, whatever becomes of `os.environ`."""

    class Started(Exception):
        pass

    def start(words: list[str], **how: Any) -> None:
        raise Started(how["env"])

    monkeypatch.setenv("A_TOKEN", "secret")
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(Started) as started:
        made._start()
    [environment] = started.value.args
    assert "PATH" in environment and "A_TOKEN" not in environment


def test_owners_that_end_together_are_all_heard_of(made: Founding) -> None:
    script = """print('{"owner": "owner-1", "exit": -9}\\n{"owner": "owner-2", "exit": 3}')"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as warm:
        warm.wait(20)
        tools.speaking(made, processes=Processes(warm)).notice_ended()
    assert made.roster.lost["owner-1"] == "its process was ended by signal 9"
    assert made.roster.lost["owner-2"] == "it ended with 3"


def test_whose_hand_is_waited_for_is_said_once(
    made: Founding,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    dialogue = tools.speaking(made, job="a-job")
    for name in ("owner-2", "owner-1"):
        dialogue.hear(mail.Letter(name, {"type": "asked"}, b""))
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("the script waits for approval by hand at owner-1, owner-2, owner-3: ")
    assert str(tmp_path / "federation" / "owners" / "owner-2" / "inbox" / "a-job") in line
    assert line in (tmp_path / "events.jsonl").read_text()
    monkeypatch.setenv("TRAINDECK_RUN_FOLDER", "/home/runs/2qbd")
    dialogue._hands_named = False
    dialogue.hear(mail.Letter("owner-2", {"type": "asked"}, b""))
    output = capsys.readouterr().out
    assert "`i` in the app" in output and "`traindeck approve 2qbd owner-2`" in output
    assert "`traindeck refuse 2qbd owner-2 --reason R` decides" in output


def test_of_owners_that_compute_together_who_was_ended_is_named(
    made: Founding,
) -> None:
    """The others fail for its sake, and are heard of first."""
    script = """import sys; sys.stdin.read(); print('{"owner": "owner-2", "exit": -9}')"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe) as warm:

        class Mail:
            def next(self, seconds: float) -> None:
                assert warm.stdin
                warm.stdin.close()

        made.options.aggregation = "mpc"
        dialogue = tools.speaking(made, processes=Processes(warm), mail=Mail())
        made.roster.lose("owner-1", "the script ended with 1")
        with pytest.raises(Failed, match=r"^owner-2: its process was ended by signal"):
            dialogue.wait("training", ["owner-1", "owner-2"], time.monotonic() + 60)
    assert [each["state"] for each in made.status.owners[:2]] == ["lost", "lost"]


@pytest.mark.parametrize("owners", range(3, 8))
def test_no_sum_of_fewer_can_be_opened(owners: int) -> None:
    """By trial of all that an aggregator can say, against the bound that noise is shared by."""
    for threshold in range(owners // 2 + 1, owners + 1):
        bound = fewest_summed(owners, threshold)
        missing = owners - threshold  # how many each owner can be told of at the most
        for left_out in range(owners - bound + 1, owners):
            # Each of these must be called dropped by `threshold` owners, none by itself.
            assert left_out * threshold > missing * owners
        assert default_threshold(owners) <= owners and bound >= 1
    for count in (3, 16):
        usual = -(-2 * count // 3)
        assert fewest_summed(count, usual) >= count // 2 + 1


def test_a_proof_that_is_none_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pins = {"owner-2": key.public_key().public_bytes_raw()}
    own = boxes.Boxes("owner-1", key, pins, "s")
    good = boxes.Boxes("owner-2", key, {}, "s").signed("keys", b"value")
    assert own.proven("keys", "owner-2", good) == b"value"
    bad: list[Any] = [{}, [], {**good, "value": "\u00e4"}, {**good, "signature": 3}, {"value": "="}]
    for signed in bad:
        with pytest.raises(Refused, match="not signed by the key"):
            own.proven("keys", "owner-2", signed)


def test_who_asks_for_more_ids_than_agreed_is_not_answered() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.settimeout(10)

        def ask() -> None:
            with contextlib.suppress(psi.PartyError):
                psi.intersect(psi.Link(theirs, "owner-1"), ["a"], 9, first=True)

        asking = threading.Thread(target=ask)
        asking.start()
        with pytest.raises(psi.PartyError, match="owner-2 asks for 9 ids, of 4 at the most"):
            psi.intersect(psi.Link(ours, "owner-2"), ["a"], 4, first=False)
        ours.close()
        asking.join()


@pytest.mark.parametrize(
    "name", ["", ".hidden", "../up", "a/b", "red\x1b[31m", "\u00e4", "a" * 101]
)
def test_a_job_whose_name_cannot_be_shown_is_refused(name: str) -> None:
    asked: Any = SimpleNamespace(name=name)
    nobody: Any = None
    assert "its name is none" in owner.Owner._objection(nobody, asked)


def test_who_comes_first_and_is_no_member_does_not_keep_the_other_out() -> None:
    tls = credentials()
    [port] = free_ports(1)
    links: list[psi.Link] = []

    def listen() -> None:
        links.append(psi.link("owner-1", port, listen=True, tls=tls, patience=20))

    listening = threading.Thread(target=listen)
    listening.start()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as wire:
            wire.sendall(b"GET / HTTP/1.1\r\n\r\n")
            break
    link = psi.link("owner-2", port, listen=False, tls=tls, patience=20)
    with link.socket:
        listening.join(20)
        link.send("hello", b"you")
        assert links[0].receive("hello") == b"you"
        links[0].socket.close()


def test_owners_do_not_live_where_jobs_read_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "libraries", lambda: [tmp_path])
    with (
        tools.as_before(),
        track.Run(folder=tmp_path / "run") as run,
        pytest.raises(Failed, match="where jobs read libraries"),
    ):
        Founding(
            run, tools.JOB, dataset="digits", shards=tools.shards(1), mock=tools.MOCK, params={}
        )
    assert not (tmp_path / "run" / "federation").exists()


def test_owners_have_time_to_end_when_the_scientist_has(tmp_path: Path) -> None:
    script = """
import signal, sys, time
from pathlib import Path
from traindeck.recipes.shared.federated.owner import owner, warm
def be(facts):
    def leave(number, frame):
        time.sleep(0.3)
        Path(facts["root"], "left").touch()
        raise SystemExit(0)
    signal.signal(signal.SIGTERM, leave)
    Path(facts["root"], "up").touch()
    time.sleep(60)
owner.main = be
sys.argv = ["warm"]
warm.main()
"""
    (tmp_path / "owners" / "owner-1").mkdir(parents=True)
    policies = json.dumps([{"root": str(tmp_path), "name": "owner-1"}]).encode()
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as warm:
        assert warm.stdin is not None
        warm.stdin.write(policies + b"\n")
        warm.stdin.flush()
        until = time.monotonic() + 60
        while not (tmp_path / "up").exists() and time.monotonic() < until:
            time.sleep(0.02)
        warm.stdin.close()
        assert warm.wait(20) == 0
    assert (tmp_path / "left").exists()
