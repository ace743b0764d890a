"""One that was killed is told by how it ended, not by what the kernel says of its pipes."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from traindeck.recipes.shared.federated.errors import Failed
from traindeck.recipes.shared.federated.post import wire
from traindeck.recipes.shared.federated.scientist.processes import Processes


def test_the_other_side_of_a_wire() -> None:
    ours, theirs = socket.socketpair()
    wire.send(theirs, {"some": "facts"})
    theirs.close()
    with ours, pytest.raises(wire.Closed, match=r"^the other side has gone$"):
        while True:
            wire.send(ours, {}, b"x" * 4096)


def test_a_wire_that_was_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        wire.send(ours, {}, b"unread")
        theirs.close()
        with ours, pytest.raises(wire.Closed, match=r"^the other side has gone$"):
            while True:
                wire.receive(ours)


def test_the_process_that_owners_are_forked_from(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        processes = Processes.start((), log)
        os.kill(processes._warm.pid, signal.SIGKILL)
        processes._warm.wait()
        with pytest.raises(Failed, match="owners are forked from was ended by signal 9"):
            processes.fork([{"owner": "owner-1"}])
        processes.close()
