"""Two owners that look for what they have in common, and learn from it together."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import until
from tests.federated.mpc_parties import (
    JOBS,
    OWNERS,
    PATIENCE,
    Parties,
    forms,
    meeting,
    through,
    wiretap,
)
from traindeck.recipes.shared.federated.mpc import models, psi
from traindeck.recipes.shared.federated.mpc.party import PartyError, credentials, free_ports
from traindeck.recipes.shared.federated.post import wire

pytestmark = pytest.mark.slow

BOUND, ROUNDS, BATCH = 12, 4, 6


def both(left: Sequence[str], right: Sequence[str], bound: int = BOUND) -> list[list[str]]:
    """What each of two owners finds, in the order that it finds it."""
    ends = socket.socketpair()
    common: dict[int, list[str]] = {}

    def look(side: int, ids: Sequence[str]) -> None:
        ends[side].settimeout(PATIENCE)
        link = psi.Link(ends[side], f"owner-{2 - side}")
        common[side] = [ids[at] for at in psi.intersect(link, ids, bound, first=side == 0)]

    other = threading.Thread(target=look, args=(1, right))
    other.start()
    look(0, left)
    other.join(PATIENCE)
    for end in ends:
        end.close()
    return [common[0], common[1]]


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        (["c", "a", "b"], ["b", "d", "c"], ["b", "c"]),
        (["a"], ["b"], []),
        ([], [], []),
        ([], ["a"], []),
        (["x", "ä", "0"], ["0", "x", "ä"], ["0", "x", "ä"]),
        ([f"p{n}" for n in range(BOUND)], [f"p{n}" for n in range(5, 5 + BOUND)], None),
    ],
    ids=["some", "none", "nobody", "one side", "all", "full"],
)
def test_both_find_the_same_in_the_same_order(
    left: list[str], right: list[str], common: list[str] | None
) -> None:
    expected = sorted(set(left) & set(right)) if common is None else common
    assert both(left, right) == [expected, expected]


def test_ids_that_cannot_be_are_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = psi.Link(ours, "owner-2")
        with pytest.raises(ValueError, match="differ"):
            psi.intersect(link, ["a", "a"], BOUND, first=True)
        with pytest.raises(ValueError, match="3 ids are more than the 2"):
            psi.intersect(link, ["a", "b", "c"], 2, first=True)


def test_an_owner_that_never_comes_is_named_after_the_limit() -> None:
    [port] = free_ports(1)
    for listen in (True, False):
        began = time.monotonic()
        with pytest.raises(PartyError, match=r"owner-2 did not come within 0.5 s"):
            psi.link("owner-2", port, listen=listen, tls=None, patience=0.5)
        assert time.monotonic() - began >= 0.5


def test_an_owner_that_says_nothing_or_nonsense_is_named() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.3)
        with pytest.raises(PartyError, match="owner-2 was silent"):
            psi.intersect(psi.Link(ours, "owner-2"), ["a"], BOUND, first=False)
        wire.send(theirs, {"type": "answer"}, b"")
        with pytest.raises(PartyError, match="'answer' where 'ids' was due"):
            psi.intersect(psi.Link(ours, "owner-2"), ["a"], BOUND, first=False)
        for _ in range(2):
            wire.send(theirs, {"type": "ids"}, b"\xff\xff nonsense")
        with pytest.raises(PartyError, match="owner-2 sent what cannot be read"):
            psi.intersect(psi.Link(ours, "owner-2"), ["a"], BOUND, first=False)
        theirs.close()
        with pytest.raises(PartyError, match="owner-2 ended"):
            psi.intersect(psi.Link(ours, "owner-2"), ["a"], BOUND, first=False)


def test_who_is_no_member_of_the_run_is_not_spoken_with() -> None:
    [port] = free_ports(1)

    def other() -> None:
        with pytest.raises(PartyError):
            met = psi.link("owner-2", port, listen=False, tls=credentials(), patience=2)
            met.receive("ids")

    stranger = threading.Thread(target=other)
    stranger.start()
    with pytest.raises(PartyError, match="owner-1 is no member of this run"):
        psi.link("owner-1", port, listen=True, tls=credentials(), patience=2)
    stranger.join(PATIENCE)


# The whole job: hospitals and a helper as processes


def hospitals(left: Sequence[int], right: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Who of 20 patients is at which hospital; each knows two measures, the second the labels."""
    random = np.random.default_rng(3)
    x = random.uniform(-1, 1, (20, 4)).astype(np.float32)
    y = (x.sum(1) > 0).astype(np.uint8)
    ids = np.array([f"patient-{number:06d}" for number in random.permutation(10**6)[:20]])
    left, right = list(left), list(right)
    return {
        "owner-1": {"ids": ids[left], "x": x[left, :2]},
        "owner-2": {"ids": ids[right], "x": x[right, 2:], "y": y[right]},
        "owner-3": {"nothing": np.zeros(1)},
    }


def params(parties: dict[str, Any], psi_port: int) -> dict[str, Any]:
    return {
        "rounds": ROUNDS,
        "lr": 1.0,
        "decay": 0.1,
        "batch_size": BATCH,
        "bound": BOUND,
        "features": [2, 2],
        "psi_port": psi_port,
        "parties": parties,
    }


def in_the_clear(data: dict[str, dict[str, Any]]) -> np.ndarray:
    left, right = data["owner-1"], data["owner-2"]
    _, first, second = np.intersect1d(left["ids"], right["ids"], return_indices=True)
    x = models.with_intercept(np.column_stack([left["x"][first], right["x"][second]]))
    y = right["y"][second].reshape(-1, 1).astype(float)
    block = models.padded(x, BOUND), models.padded(y, BOUND)
    return models.train_plain([block], ROUNDS, 1.0, 0.1, BATCH, models.cubic)


def traces_in(heard: bytes, data: dict[str, dict[str, Any]]) -> int:
    """How much of the ids, their bare hashes and the measures is found in what crossed."""
    common = 0
    for name in ("owner-1", "owner-2"):
        for patient in data[name]["ids"]:
            text = str(patient).encode()
            hashes = [hashlib.new(kind, text).digest() for kind in ("sha256", "sha1", "md5")]
            common += sum(form in heard for form in (text, text[-6:], *hashes))
        rows = forms(data[name]["x"], models.SCALE, models.LOGISTIC_FRACTION)
        common += sum(form in heard for form in rows)
    return common


def test_hospitals_learn_together_and_nothing_of_it_crosses(tmp_path: Path) -> None:
    data = hospitals(range(11), range(4, 15))
    *ports, psi_port = free_ports(4)
    with (
        Parties(tmp_path, JOBS / "psi_align.py", data) as parties,
        wiretap([*ports, psi_port]) as tap,
    ):
        for index, owner in enumerate(OWNERS):
            meet = meeting(through(tap, ports, index)[:3])
            parties.start(owner, params(meet, psi_port if index == 1 else tap.ports[3]))
        results = parties.results()
        sent = sum(results[owner]["psi_bytes"] for owner in ("owner-1", "owner-2"))
        until(lambda: len(tap.heard) > sent)
        assert traces_in(tap.heard, data) == 0
    weights = np.array(results["owner-1"]["weights"])
    assert results["owner-1"]["patients"] == results["owner-2"]["patients"] == 7
    assert results["owner-2"]["weights"] == results["owner-1"]["weights"]
    for owner in OWNERS:
        counted = sum(results[owner]["bytes_sent"].values()) + results[owner].get("psi_bytes", 0)
        assert counted <= parties.reported_sent(owner) <= counted + 2000
    assert np.abs(weights - in_the_clear(data)).max() < 1e-4
    assert set(results["owner-3"]) == {"seconds", "bytes_sent"}  # the helper learns nothing


def test_traces_that_do_cross_are_found() -> None:
    data = hospitals(range(11), range(4, 15))
    patient, x = str(data["owner-1"]["ids"][0]), data["owner-1"]["x"]
    for crossed in (
        patient.encode(),
        hashlib.sha256(patient.encode()).digest(),
        x.tobytes(),
        str(x.tolist()).encode(),
    ):
        assert traces_in(b"\x17" + crossed + b"\x42", data) > 0


def test_no_common_patient_is_an_answer_too(tmp_path: Path) -> None:
    data = hospitals(range(5), range(10, 15))
    *ports, psi_port = free_ports(4)
    with Parties(tmp_path, JOBS / "psi_align.py", data) as parties:
        for owner in OWNERS:
            parties.start(owner, params(meeting(ports, credentials()) | TLS, psi_port))
        results = parties.results()
    assert results["owner-1"]["patients"] == results["owner-2"]["patients"] == 0
    assert results["owner-1"]["weights"] == [0.0] * 5


TLS = {"tls": credentials()}  # one for all parties
