"""What a federation says of itself is read whatever its files hold, and only when they changed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tui.federated_runs import (
    ENCRYPTION,
    PRIVACY,
    SCIENTIST,
    federated_run,
    federation_in,
    only_request,
    write_coordinator,
    write_status,
)
from tests.tui.homes import make_run
from traindeck.core.base.files import read_bounded
from traindeck.core.base.home import Home
from traindeck.core.base.sanitize import clean
from traindeck.core.federation.reader import FederationReader, read_federation
from traindeck.core.federation.script import read_script
from traindeck.core.federation.status import CLASSES, STATES


class TestReading:
    def test_coordinator_and_owners_are_joined(self, home: Home) -> None:
        federation = federation_in(federated_run(home, rounds=7))
        assert (
            federation.aggregation,
            federation.phase,
            federation.round,
            federation.rounds_total,
        ) == (
            "secagg",
            "training",
            8,
            60,
        )
        assert federation.encryption == ENCRYPTION
        assert [owner.name for owner in federation.owners] == ["owner-1", "owner-2", "owner-3"]
        first = federation.owners[0]
        assert (first.samples, first.loss, first.state) == (3481, 0.11, "training")
        assert first.bytes_out["masked"] == 203_600 and first.job is not None
        assert first.job.submitted_by == SCIENTIST
        assert federation.rounds[6].lost == ("owner-3",)
        assert federation.rounds[6].states["owner-3"] == "lost"

    def test_json_has_what_was_asked_for(self, home: Home) -> None:
        facts = federation_in(federated_run(home, rounds=7)).to_json()
        assert facts["aggregation"] == "secagg"
        assert facts["owners"][1]["bytes_out"].keys() >= set(CLASSES)
        assert facts["owners"][1].keys() >= {"name", "samples", "state", "job", "waiting"}
        assert facts["rounds"][6].keys() == {"number", "seconds", "accuracy", "lost"}
        orjson.dumps(facts)

    def test_json_has_the_norm_of_rounds_where_it_moves(self, home: Home) -> None:
        folder = federated_run(home, rounds=2)
        path = folder / "federation" / "coordinator.json"
        said = json.loads(path.read_text())
        said["rounds"][1]["clipping_norm"] = 0.25
        path.write_text(json.dumps(said))
        first, second = federation_in(folder).to_json()["rounds"]
        assert "clipping_norm" not in first and second["clipping_norm"] == 0.25

    def test_each_owner_tells_what_its_part_has_cost(self, home: Home) -> None:
        folder = federated_run(home)
        write_status(folder, 1, privacy=PRIVACY)
        write_status(folder, 2, privacy={**PRIVACY, "ledger": "mnist.owner-2"})
        owners = federation_in(folder).to_json()["owners"]
        first, second, third = (owner["privacy"] for owner in owners)
        assert first == PRIVACY
        assert second["ledger"] == "mnist.owner-2"
        assert third is None

    @pytest.mark.parametrize("epsilon", [None, "x", math.nan, -1, math.inf, True])
    def test_an_epsilon_that_bounds_nothing_is_infinite(self, home: Home, epsilon: Any) -> None:
        folder = federated_run(home)
        write_status(folder, 1, privacy={**PRIVACY, "epsilon": epsilon})
        privacy = federation_in(folder).owners[0].privacy
        assert privacy is not None and privacy.epsilon is None
        assert privacy.spent == "∞ of 2.93"

    def test_a_plain_run_has_none(self, home: Home) -> None:
        assert read_federation(home.runs / make_run(home, 1, index=False)) is None

    def test_a_federation_that_has_said_nothing_yet(self, home: Home) -> None:
        folder = home.runs / make_run(home, 1, index=False)
        (folder / "federation").mkdir()
        federation = federation_in(folder)
        assert not federation.heard and federation.owners == ()

    def test_an_owner_knows_its_state_best_but_not_that_it_is_lost(self, home: Home) -> None:
        folder = federated_run(home)
        write_coordinator(folder, states={"owner-2": "lost", "owner-3": "approved"})
        assert [owner.pid for owner in federation_in(folder).owners] == [1001, None, 1003]
        states = {owner.name: owner.state for owner in federation_in(folder).owners}
        assert states == {"owner-1": "training", "owner-2": "lost", "owner-3": "training"}

    def test_an_owner_the_coordinator_does_not_name_yet(self, home: Home) -> None:
        folder = federated_run(home)
        (folder / "federation" / "coordinator.json").unlink()
        assert [owner.name for owner in federation_in(folder).owners] == [
            "owner-1",
            "owner-2",
            "owner-3",
        ]

    def test_load_is_what_an_owner_used_between_two_looks(self, home: Home) -> None:
        folder = federated_run(home)
        reader = FederationReader(folder)
        for cpu, when in ((10.0, 1000), (10.1, 1000.1), (13.0, 1002)):
            owner = write_status(folder, 1, cpu_seconds=cpu)
            os.utime(owner / "status.json", (when, when))
            federation = reader.read()
        assert federation is not None
        assert federation.owners[0].cpu_percent == pytest.approx(150.0)
        assert federation.owners[1].cpu_percent is None


class TestUnchangedFiles:
    def test_are_not_read_again(self, home: Home) -> None:
        folder = federated_run(home)
        reader = FederationReader(folder)
        before = reader.read()
        assert before is not None
        for path in (folder / "federation").rglob("*.json"):
            status = path.stat()
            path.write_bytes(b"x" * status.st_size)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert reader.read() is before

    def test_one_that_changed_is(self, home: Home) -> None:
        folder = federated_run(home)
        reader = FederationReader(folder)
        before = reader.read()
        write_status(folder, 2, loss=0.5)
        after = reader.read()
        assert after is not None and after is not before
        assert after.owners[1].loss == 0.5
        assert reader.read() is after

    def test_200_rounds_of_16_owners_cost_little(self, home: Home) -> None:
        folder = federated_run(home, owners=16, rounds=200)
        reader = FederationReader(folder)
        reader.read()
        begun = time.thread_time()
        for _ in range(100):
            reader.read()
        assert time.thread_time() - begun < 2.0  # about 0.5 ms each


class TestDamage:
    @pytest.mark.parametrize("data", [b"", b'{"v": 1, "phase": "tr', b"[]", b"\xff\xfe", b"null"])
    def test_a_torn_file_leaves_what_it_said_before(self, home: Home, data: bytes) -> None:
        folder = federated_run(home)
        reader = FederationReader(folder)
        reader.read()
        (folder / "federation" / "coordinator.json").write_bytes(data)
        (folder / "federation" / "owners" / "owner-1" / "status.json").write_bytes(data)
        federation = reader.read()
        assert federation is not None
        assert federation.phase == "training" and federation.owners[0].samples == 3481

    def test_pipes_links_and_huge_files_are_not_waited_for(self, home: Home) -> None:
        folder = federated_run(home)
        owners = folder / "federation" / "owners"
        for name in ("owner-1", "owner-2", "owner-3"):
            (owners / name / "status.json").unlink()
        os.mkfifo(owners / "owner-1" / "status.json")
        (owners / "owner-2" / "status.json").symlink_to("/dev/zero")
        with (owners / "owner-3" / "status.json").open("wb") as file:
            file.truncate(1 << 40)
        assert [owner.heard for owner in federation_in(folder).owners] == [False, False, False]
        with pytest.raises(OSError, match="longer"):
            read_bounded(owners / "owner-3" / "status.json", 100)

    def test_what_no_number_can_be_is_not_said(self, home: Home) -> None:
        folder = federated_run(home)
        odd = {"samples": 10**400, "loss": math.nan, "seconds": -math.inf, "memory": -1}
        write_status(folder, 1, **odd, cpu_seconds=True, bytes_out={"raw": 1e9, "masked": "x"})
        owner = federation_in(folder).owners[0]
        assert owner.samples is None and owner.memory is None and owner.cpu_seconds is None
        assert owner.loss is not None and math.isnan(owner.loss)
        assert owner.bytes_out == {}


texts = st.text(max_size=12) | st.sampled_from(["owner-1", "\x1b[2J", "[/red]", "\ud800", *STATES])
numbers = st.integers() | st.floats() | st.integers(10**300, 10**301)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def like(**known: Any) -> Any:
    """Objects with some keys as they should be and any of them as anything."""
    return st.fixed_dictionaries(
        {}, optional={key: value | anything for key, value in known.items()}
    )


states = st.sampled_from(STATES)
coordinators = like(
    phase=texts,
    aggregation=texts,
    waiting_for=st.lists(texts, max_size=3),
    reason=texts,
    round=numbers,
    rounds_total=numbers,
    threshold=numbers,
    owners=st.lists(like(name=texts, state=states, reason=texts), max_size=4),
    rounds=st.lists(
        like(
            number=st.integers(0, 300) | numbers,
            seconds=numbers,
            accuracy=numbers,
            clipping_norm=numbers,
            lost=st.lists(texts, max_size=2),
            states=st.dictionaries(texts, states, max_size=3),
        ),
        max_size=6,
    ),
)
statuses = like(
    state=states,
    samples=numbers,
    round=numbers,
    loss=numbers,
    seconds=numbers,
    bytes_out=st.dictionaries(st.sampled_from(CLASSES) | texts, numbers, max_size=4),
    bytes_round=st.dictionaries(texts, numbers, max_size=2),
    cpu_seconds=numbers,
    memory=numbers,
    approval=st.sampled_from(["auto", "hand"]),
    facts=st.dictionaries(texts, anything, max_size=3),
    job=like(script=texts, sha256=texts),
    privacy=like(epsilon=numbers, delta=numbers, steps=numbers, unit=texts, ledger=texts),
)
price = like(unit=texts, epsilon=numbers, delta=numbers, steps=numbers, ledger=texts, charged=texts)
asked = like(
    script=texts, sha256=texts, submitted_by=texts, at=numbers, agreed=texts, privacy=price
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(coordinator=coordinators, status=statuses, request=asked, script=st.binary(max_size=60))
@pytest.mark.slow
def test_nothing_that_files_hold_does_harm(
    tmp_path: Path, coordinator: Any, status: Any, request: Any, script: bytes
) -> None:
    """Reading, JSON for commands, and what the screen draws of it."""
    from traindeck.tui.panels.federation_lines import figures, phase, words
    from traindeck.tui.panels.federation_rounds import hidden, legend, matrix
    from traindeck.tui.widgets.code_view import diff_lines, plain_lines, python_lines

    folder = tmp_path / "run"
    inbox = folder / "federation" / "owners" / "owner-1" / "inbox" / "j\x1b[1m"
    inbox.mkdir(parents=True, exist_ok=True)
    (folder / "federation" / "coordinator.json").write_text(json.dumps(coordinator))
    (inbox.parent.parent / "status.json").write_text(json.dumps(status))
    (inbox / "request.json").write_text(json.dumps(request))
    (inbox / "main.py").write_bytes(script)
    (inbox / "params.json").write_bytes(script)
    federation = federation_in(folder)
    json.dumps(federation.to_json())
    for width in (1, 8, 75, 200):
        for back in (0, 3):
            drawn = [
                phase(federation, "torch", True),
                phase(federation, "", False),
                hidden(federation, width, back),
                matrix(federation, width, back),
                legend(width),
                words(federation, width),
                figures(federation, width),
            ]
            for each in drawn:
                assert clean(each.plain) == each.plain
    if price := only_request(folder).price:
        assert clean(price.cost + price.paid) == price.cost + price.paid
    read = read_script(only_request(folder))
    for line in (*python_lines(read.text), *plain_lines(read.params.split("\n"))):
        assert "".join(text for text, _ in line).isprintable()
    diff_lines(read.diff or ())
    assert read.sha256 == hashlib.sha256(script).hexdigest()
