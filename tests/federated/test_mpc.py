"""Owners that compute on shares: the job as they run it, and what can be seen of it."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import until
from tests.federated.mpc_parties import JOBS, OWNERS, Parties, forms, meeting, through, wiretap
from traindeck.recipes.shared.federated.mpc import models
from traindeck.recipes.shared.federated.mpc.party import (
    Numbers,
    PartyError,
    credentials,
    free_ports,
    run,
)

pytestmark = pytest.mark.slow

FEATURES, BOUND, BATCH, ROUNDS = 4, 8, 4, 6
ROWS = {"owner-1": 3, "owner-2": 8, "owner-3": 5}


def shards() -> dict[str, dict[str, Any]]:
    random = np.random.default_rng(7)
    owned = {}
    for owner, rows in ROWS.items():
        x = random.uniform(-1, 1, (rows, FEATURES)).astype(np.float32)
        owned[owner] = {"x": x, "y": (x.sum(1) > 0).astype(np.uint8)}
    return owned


def params(parties: dict[str, Any], rounds: int = ROUNDS) -> dict[str, Any]:
    return {
        "rounds": rounds,
        "lr": 1.0,
        "decay": 0.1,
        "batch_size": BATCH,
        "bound": BOUND,
        "parties": parties,
    }


def in_the_clear() -> np.ndarray:
    blocks = [
        (
            models.padded(models.with_intercept(shard["x"]), BOUND),
            models.padded(shard["y"].reshape(-1, 1).astype(float), BOUND),
        )
        for shard in shards().values()
    ]
    return models.train_plain(blocks, ROUNDS, 1.0, 0.1, BATCH, models.cubic)


@pytest.fixture
def parties(tmp_path: Path) -> Any:
    with Parties(tmp_path, JOBS / "mpc_logreg.py", shards()) as made:
        yield made


def test_the_weights_are_those_of_training_in_the_clear(parties: Parties) -> None:
    meet = meeting(free_ports(3), credentials())
    for owner in OWNERS:
        parties.start(owner, params(meet))
    results = parties.results()
    weights = [np.array(results[owner]["weights"]) for owner in OWNERS]
    assert np.array_equal(weights[0], weights[1])
    assert np.array_equal(weights[0], weights[2])
    assert np.abs(weights[0] - in_the_clear()).max() < 1e-4
    assert np.abs(weights[0]).max() > 0.1
    for owner in OWNERS:
        last = parties.logged(owner)[-1]
        assert (last["rows"], last["features"], last["rounds"]) == (ROWS[owner], FEATURES, ROUNDS)
        assert last["bytes_sent"] <= sum(results[owner]["bytes_sent"].values())
        assert set(results[owner]) == {
            "weights",
            "bytes_sent",
            "seconds",
        }  # and nothing of the rows
        assert set(results[owner]["bytes_sent"]) == set(OWNERS) - {owner}
        counted = sum(results[owner]["bytes_sent"].values())
        assert counted <= parties.reported_sent(owner) <= counted + 2000, "and what parting takes"


def test_a_party_that_never_comes_is_named_after_the_limit(parties: Parties) -> None:
    meet = meeting(free_ports(3), credentials(), patience=4)
    began = time.monotonic()
    for owner in ("owner-1", "owner-3"):
        parties.start(owner, params(meet))
    for owner in ("owner-1", "owner-3"):
        assert parties.complaint(owner).endswith("owner-2 did not come within 4 s")
    assert time.monotonic() - began >= 4


def test_a_party_that_dies_is_named(parties: Parties) -> None:
    meet = meeting(free_ports(3), credentials())
    for owner in OWNERS:
        parties.start(owner, params(meet, rounds=10_000))
    until(lambda: parties.logged("owner-2")[-1:] and parties.logged("owner-2")[-1]["rounds"] > 0)
    parties.processes["owner-2"].kill()
    complaints = [parties.complaint(owner) for owner in ("owner-1", "owner-3")]
    assert any("owner-2 ended before the computation was over" in line for line in complaints)
    assert all("ended before the computation was over" in line for line in complaints)


def test_who_has_another_certificate_is_not_let_in(parties: Parties) -> None:
    ports = free_ports(3)
    own, other = credentials(), credentials()
    for owner in OWNERS:
        tls = other if owner == "owner-3" else own
        parties.start(owner, params(meeting(ports, tls, patience=4)))
    for owner in ("owner-1", "owner-2"):
        assert "owner-3 did not come" in parties.complaint(owner)


def test_parties_listen_on_loopback_alone(parties: Parties) -> None:
    started = parties.start("owner-3", params(meeting(free_ports(3))))
    process = psutil.Process(started.pid)
    links = until(lambda: [link for link in process.net_connections() if link.status == "LISTEN"])
    assert {link.laddr.ip for link in links} == {"127.0.0.1"}


def rows_in(heard: bytes) -> int:
    """In how many forms the owners' rows are found in what crossed."""
    rows = np.concatenate([shard["x"] for shard in shards().values()])
    looked_for = forms(rows, models.SCALE, models.LOGISTIC_FRACTION)
    return sum(form in heard for form in looked_for)


def test_no_row_crosses_even_without_tls(parties: Parties) -> None:
    ports = free_ports(3)
    with wiretap(ports) as tap:
        for index, owner in enumerate(OWNERS):
            parties.start(owner, params(meeting(through(tap, ports, index))))
        results = parties.results()
        assert np.abs(np.array(results["owner-1"]["weights"]) - in_the_clear()).max() < 1e-4
        # What was counted did cross; the parties' numbers and their common keys come besides.
        counted = sum(sum(each["bytes_sent"].values()) for each in results.values())
        until(lambda: counted <= len(tap.heard) <= counted + 2000)
        assert rows_in(tap.heard) == 0


LEAK = """
from traindeck.recipes.shared.federated.job import job
from traindeck.recipes.shared.federated.mpc.party import run
from traindeck.recipes.shared.federated.mpc import models

with job.session() as here:
    x = here.data()["x"]

    async def compute(party):
        {leak}

    run(compute, owner=here.owner, owners=here.owners, tls=None, **here.params["parties"])
    here.result()
"""


@pytest.mark.parametrize(
    "leak",
    [
        "party.mpc.threshold = 0; models.share_measures(party, 0, x, x.shape)",
        "party.mpc.parties[party.index - 1].protocol.send(1, x.tobytes())",
        "party.mpc.parties[party.index - 1].protocol.send(1, x.astype('f8').tobytes())",
        "party.mpc.parties[party.index - 1].protocol.send(1, str(x.tolist()).encode())",
    ],
    ids=["threshold 0, where a share is the value", "float32", "float64", "text"],
)
def test_rows_that_do_cross_are_found(tmp_path: Path, leak: str) -> None:
    script = tmp_path / "leak.py"
    script.write_text(LEAK.format(leak=leak))
    ports = free_ports(3)
    data = {owner: {"x": shard["x"][:3]} for owner, shard in shards().items()}
    with Parties(tmp_path / "run", script, data) as parties, wiretap(ports) as tap:
        for index, owner in enumerate(OWNERS):
            parties.start(owner, {"parties": meeting(through(tap, ports, index))})
        parties.results()
        until(lambda: rows_in(tap.heard) > 3)


def test_two_parties_are_refused() -> None:
    with pytest.raises(PartyError, match="honest majority needs 3"):
        run(
            lambda party: None,  # type: ignore[arg-type,return-value]
            owner="owner-1",
            owners=["owner-1", "owner-2"],
            ports=[1, 2],
            tls=None,
        )


def test_numbers_cross_in_a_plain_form() -> None:
    row = np.array([0, -1, 2**89, -(2**200), 5], object)
    for values in (row, row[:0], row[:1]):
        back = Numbers.loads(Numbers.dumps(values))
        assert back.dtype == object
        assert back.tolist() == values.tolist()
    for number in (0, 7, -(2**70)):
        assert Numbers.loads(Numbers.dumps(number)) == number


@pytest.mark.parametrize(
    "data", [b"", b"a", b"a\x00\x00", b"a\x02\x00abc", pickle.dumps([1]), b"x\x01\x00a"]
)
def test_nothing_else_is_read_from_other_parties(data: bytes) -> None:
    with pytest.raises(ValueError, match="no numbers"):
        Numbers.loads(data)


@pytest.mark.parametrize("thing", ["text", [1], None, np.zeros((2, 2))])
def test_nothing_else_is_sent_to_other_parties(thing: object) -> None:
    with pytest.raises(TypeError):
        Numbers.dumps(thing)
