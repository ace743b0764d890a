"""flower-fedavg over Flower itself.

It needs an environment of its own, named by TRAINDECK_FLOWER (see recipes/flower).
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import until
from tests.federated.flower_stand_in import NODES, read, series, train
from traindeck.recipes.shared.federated.flower.env import VARIABLE, missing

FLOWER = os.environ.get(VARIABLE, "")
LACK = missing(Path(FLOWER)) if FLOWER else f"{VARIABLE} names no environment that has Flower"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a round without SecAgg+."""
    place = tmp_path_factory.mktemp("plain")
    train(place, FLOWER, "--rounds=1", "--no-secagg")
    return place / "run"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the same round with it."""
    place = tmp_path_factory.mktemp("secure")
    train(place, FLOWER, "--rounds=1")
    return place / "run"


@pytest.mark.framework
@pytest.mark.skipif(bool(LACK), reason=LACK)
class TestFlower:
    """The real one: a round of SecAgg+ takes most of a minute on two busy cores."""

    def test_the_sum_alone_leads_to_the_same_weights(self, plain: Path, secure: Path) -> None:
        first, second = (
            np.load(run / "artifacts" / "checkpoint-00000001.npz") for run in (plain, secure)
        )
        with first, second:
            assert list(first) == list(second)
            for name in first:
                assert np.abs(first[name] - second[name]).max() < 1e-4

    def test_what_leaves_an_owner_is_masked(self, plain: Path, secure: Path) -> None:
        parameters = 64 * 32 + 32 + 32 * 10 + 10
        open_, masked = (
            read(run / "federation/owners/owner-1/status.json")["bytes_out"]
            for run in (plain, secure)
        )
        assert open_["masked"] == 0 and open_["ciphertext"] > 4 * parameters
        assert masked["masked"] > 8 * parameters  # sums modulo 2^32, sent as 64 bits
        assert 0 < masked["ciphertext"] < 4 * parameters  # shares of keys alone
        assert masked["metadata"] < 4 * parameters

    def test_its_rounds_are_shown(self, secure: Path) -> None:
        shown = read(secure / "federation/coordinator.json")
        assert shown["phase"] == "done"
        assert shown["rounds"][0]["states"] == dict.fromkeys(NODES, "sent")
        for name in NODES:
            owner = read(secure / f"federation/owners/{name}/status.json")
            assert owner["samples"] > 0 and owner["loss"] > 0 and owner["cpu_seconds"] > 0
        assert series(secure)["test/accuracy"][0][0] == 1

    def test_tls_alone_is_spoken_and_killed_it_leaves_no_process(
        self, tmp_path: Path, started: Any
    ) -> None:
        process, children = started(FLOWER)
        tls = tmp_path / "run/federation/flower/tls"
        assert {path.stat().st_mode & 0o777 for path in tls.glob("*.key")} == {0o600}
        trust = ssl.create_default_context(cafile=str(tls / "ca.pem"))
        ports = {
            connection.laddr.port
            for child in children
            for connection in child.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip == "127.0.0.1"
        }
        assert len(ports) == 4  # a SuperLink, three SuperNodes; nothing listens elsewhere
        for port in ports:
            with (
                socket.create_connection(("127.0.0.1", port), 10) as raw,
                trust.wrap_socket(raw, server_hostname="127.0.0.1") as sealed,
            ):
                assert sealed.version() == "TLSv1.3"

        def apps() -> list[str]:
            """Command lines of Flower's apps that run now."""
            lines = []
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    lines.append(" ".join(child.cmdline()))
            return [line for line in lines if "/flwr-clientapp" in line or "/flwr-server" in line]

        app = until(apps, "an app")
        assert all("--token-file" in line and "--token " not in line for line in app)
        process.kill()
        assert not psutil.wait_procs(children, timeout=30)[1]
