"""A privacy statement: signed byte for byte, and each figure of it computed anew."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.core.privacy.ledgers import unwitnessed
from tests.core.privacy.statements import (
    DATA,
    POISSON,
    changed,
    leaves,
    signed,
    spend,
    spent,
    stated,
    wrong,
)
from traindeck.core.base.errors import BudgetRefused, TraindeckError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.privacy import accountant
from traindeck.core.privacy.budget import create
from traindeck.core.privacy.ledger.entries import new_entry
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.statement import claims
from traindeck.core.privacy.statement.check import check
from traindeck.core.privacy.statement.page import page
from traindeck.core.privacy.statement.signing import opened, own_fingerprint, sign

SCRIPT = Path(claims.__file__).with_name("verify_statement.py")


@pytest.fixture
def ledger(home: Home) -> Ledger:
    return spent(home)


def test_a_statement_says_what_was_spent_in_bounds_that_are_rounded_up(
    home: Home, ledger: Ledger
) -> None:
    document = stated(home, ledger)
    guarantee, account = document["guarantee"], ledger.account()
    events = [POISSON.with_steps(140), Mechanism(3.0, 0.05, 7)]
    exact = accountant.epsilon(events, 1e-5)
    assert exact <= guarantee["fixed_schedule"]["epsilon"] <= exact * (1 + 1e-5)
    assert guarantee["filter"]["rho_spent"] == account.rho_spent
    assert guarantee["filter"]["rho_reserved"] == account.rho_reserved
    assert guarantee["filter"]["epsilon"] >= guarantee["fixed_schedule"]["epsilon"]
    assert [run["event"]["steps"] for run in document["runs"]] == [140, 7, 0]
    assert Mechanism.from_json(document["runs"][0]["event"]) == events[0]
    assert document["ledger"] == {"name": "toy", "entries": 7, "head": account.head}
    assert (guarantee["unit"], guarantee["relation"]) == ("example", "add-or-remove-one")
    assert not wrong(document, home)


def test_nothing_private_is_in_it(home: Home, ledger: Ledger) -> None:
    text = sign(claims.of_budget(home, ledger), home.root).decode()
    assert DATA not in text and str(home.root) not in text
    secrets = [(home.root / name).read_bytes() for name in ("secret.key", "statement.key")]
    assert not any(secret.hex() in text for secret in secrets)
    assert re.search(r'"toy": "hmac:[0-9a-f]{64}"', text)


def test_the_key_is_made_once_for_its_user_alone(home: Home, tmp_path: Path) -> None:
    first = own_fingerprint(home.root)
    assert own_fingerprint(home.root) == first != own_fingerprint(tmp_path / "another")
    path = home.root / "statement.key"
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size == 32
    home.make()  # a home that holds one is a home
    path.write_bytes(b"short")
    with pytest.raises(TraindeckError, match=r"statement\.key.*damaged.*fingerprint"):
        own_fingerprint(home.root)


def test_every_digit_that_is_changed_is_seen(home: Home, ledger: Ledger) -> None:
    data = sign(claims.of_budget(home, ledger), home.root)
    places = [match.start() for match in re.finditer(rb"[0-9]", data)]
    assert len(places) > 500
    for place in places:
        other = b"%d" % ((data[place] - ord("0") + 1) % 10)
        assert opened(data[:place] + other + data[place + 1 :]).wrong


def test_every_leaf_that_is_changed_is_seen(home: Home, ledger: Ledger) -> None:
    data = sign(claims.of_budget(home, ledger), home.root)
    document = json.loads(data)
    for place, value in leaves(document):
        other = None if value is not None else 0.0
        text = json.dumps(changed(document, place, other), indent=1) + "\n"
        assert opened(text.encode()).wrong, place


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data.replace(b' "issued"', b'  "issued"'),
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data + b" ",
        lambda data: data.replace(b' "key": ', b' "delta": 1.0,\n "delta": 2.0,\n "key": '),
        lambda data: data[: len(data) // 2],
    ],
)
def test_a_file_that_reads_the_same_or_was_cut_is_not_the_one_that_was_signed(
    home: Home, ledger: Ledger, harm: Any
) -> None:
    assert opened(harm(sign(claims.of_budget(home, ledger), home.root))).wrong


def test_a_field_that_is_given_twice_is_refused_even_when_signed(home: Home) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    body = b'{\n "format": "traindeck privacy statement 1",\n "a": 1,\n "a": 2,\n "key": "%b"'
    body = body % public.encode()
    signature = key.sign(body + b"\n}\n").hex().encode()
    assert "twice" in opened(body + b',\n "signature": "%b"\n}\n' % signature).wrong


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"events": []}'])
def test_what_is_no_statement_is_refused_as_such(data: bytes) -> None:
    with pytest.raises(UsageError, match="no privacy statement"):
        opened(data)


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.slow
def test_each_figure_that_was_changed_and_signed_again_is_computed_to_be_wrong(
    home: Home, ledger: Ledger, tmp_path: Path, factor: float
) -> None:
    """By another home, which has no ledger to compare with."""
    document, elsewhere = stated(home, ledger), Home(tmp_path / "elsewhere")
    elsewhere.make()
    assert not wrong(document, elsewhere, home.root)
    computed = [
        (place, value)
        for place, value in leaves(document)
        if place[0] in ("guarantee", "runs", "budget")
        and isinstance(value, int | float)
        and not (factor == 0.9 and place == ("budget", "rho_budget"))  # a budget may be smaller
        and not (factor == 1.1 and place == ("budget", "epsilon"))  # or cover more
        and place[2:] not in (("plan", "steps"), ("committed",), ("inherited",))
    ]
    assert len(computed) > 40
    for place, value in computed:
        other = value * factor if value else 0.1
        if isinstance(value, bool):
            other = not value
        elif isinstance(value, int):
            other = int(other)
        if other != value:
            assert wrong(changed(document, place, other), elsewhere, home.root), place


@pytest.mark.slow
def test_the_ledger_that_has_the_chain_head_tells_every_other_fact(
    home: Home, ledger: Ledger
) -> None:
    document = stated(home, ledger)
    ledger.commit("goes-on", 9)  # it has grown since
    assert not wrong(document, home)
    for place, value in leaves(document):
        if place[0] in ("runs", "budget", "exposed") or place[-1] in ("head", "unit", "relation"):
            other = "zero-out" if place[-1] == "relation" else value * 2 if value else 1
            other = "goes-on" if place[-1] == "void" else other
            if place[-1] != "audit":
                assert wrong(changed(document, place, other), home), place
    for run in range(3):
        fewer = {**document, "runs": [*document["runs"][:run], *document["runs"][run + 1 :]]}
        assert wrong(fewer, home)


def test_a_ledger_that_was_taken_back_is_missed_by_the_home_that_signed(
    home: Home, ledger: Ledger
) -> None:
    document = stated(home, ledger)
    kept = ledger.path.read_bytes()
    for path in (ledger.path, ledger.path.with_suffix(".head.json")):
        path.unlink()
    assert wrong(document, home) == ["ledger"]
    with pytest.raises(BudgetRefused):
        create(home, "toy", 6.0, 1e-5, "example", DATA)
    unwitnessed(ledger)
    assert wrong(document, home) == ["ledger"]
    create(home, "toy", 6.0, 1e-5, "example", DATA)
    assert wrong(document, home) == ["ledger"]
    assert ledger.path.read_bytes() != kept


def test_who_signed_is_known_to_those_who_have_the_fingerprint(
    home: Home, ledger: Ledger, tmp_path: Path
) -> None:
    other = Home(tmp_path / "other")
    other.make()
    document = stated(home, ledger)
    ours = own_fingerprint(home.root)
    for key in (ours, f" {ours.upper()} "):
        assert all(line.ok for line in check(opened(signed(document, home.root)), home, key))
    forged = opened(signed(document, other.root))
    [first, *_] = check(forged, home, ours)
    assert first.ok is False and "signed by another key than" in first.says
    [first, *_] = check(forged, home)  # without it a forger's signature is as good
    assert first.ok


def test_exposed_and_quarantined_runs_make_every_epsilon_infinite(
    home: Home, ledger: Ledger
) -> None:
    ledger.quarantine("first", "audit: epsilon is at least 9")
    document = stated(home, ledger)
    assert document["guarantee"]["infinite_because"] == ["run first: audit: epsilon is at least 9"]
    ledger.expose("plain", "torch-digits", "no privacy")
    document = stated(home, ledger)
    guarantee = document["guarantee"]
    assert guarantee["filter"]["epsilon"] is guarantee["fixed_schedule"]["epsilon"] is None
    assert guarantee["naive_sum"]["epsilon"] is guarantee["fixed_schedule"]["risk"] is None
    assert "run plain trained with no privacy" in guarantee["infinite_because"]
    assert [run["epsilon"] is None for run in document["runs"]] == [True, False, False]
    assert not wrong(document, home)
    assert "Epsilon is infinite" in page(document)
    hidden = changed(document, ("guarantee", "fixed_schedule", "epsilon"), 1.0)
    assert wrong(hidden, home)


def test_a_shuffled_run_in_a_budget_of_before_has_no_epsilon_under_its_relation(
    home: Home,
) -> None:
    made = create(home, "toy", 6.0, 1e-5, "example", DATA)
    spend(made, "shuffled", Mechanism(4.0, 0.1, 25, "shuffle"))
    made.commit("shuffled", 25)
    document = stated(home, made)
    why = "run shuffled: its epsilon is for zero-out, not for add-or-remove-one"
    assert document["guarantee"]["infinite_because"] == [why]
    assert document["guarantee"]["filter"]["epsilon"] is None
    assert not wrong(document, home)


def test_the_chain_head_of_a_ledger_that_holds_the_datas_own_hash_is_not_in_it(
    home: Home,
) -> None:
    made = create(home, "toy", 6.0, 1e-5, "example", None)
    made.add(lambda now: [new_entry("pin", dataset="toy", fingerprint=DATA)])
    document = stated(home, made)
    assert document["ledger"] == {"name": "toy", "entries": 2, "head": None}
    assert document["subject"]["data"]["toy"].startswith("hmac:")
    assert not wrong(document, home)


@pytest.mark.parametrize("relation", ["add-or-remove-one", "zero-out"])
def test_shuffled_passes_are_stated_under_zero_out(home: Home, relation: str) -> None:
    shuffled = Mechanism(4.0, 0.1, 25, "shuffle", 3)
    made = create(home, "toy", 6.0, 1e-5, "example", DATA, relation="zero-out")
    spend(made, "shuffled", shuffled)
    made.commit("shuffled", 21)
    document = changed(stated(home, made), ("guarantee", "relation"), relation)
    assert bool(wrong(document, home)) == (relation != "zero-out")
    exact = accountant.epsilon([Mechanism(4.0, 1.0, 3, "none")], 1e-5)
    assert document["runs"][0]["epsilon"] == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize(
    "mechanism",
    [
        Mechanism(5.0, 1e-3, 10**6),
        Mechanism(0.6, 0.01, 300),
        Mechanism(6.0, 0.1, 25, "shuffle", 3),
        Mechanism(4.84, 2048 / 60000, 1171, bands=8),
        Mechanism(1.84, 2048 / 60000, 1171, "truncated", max_batch=2578, records=60000),
        # Of batches that overflow so often, what is left of delta shows.
        Mechanism(1.84, 2048 / 60000, 500, "truncated", max_batch=2478, records=60000),
    ],
    ids=["long", "little noise", "shuffled", "banded", "truncated", "overflowing"],
)
@pytest.mark.slow
def test_a_script_without_traindeck_comes_to_the_same(
    home: Home, tmp_path: Path, mechanism: Mechanism
) -> None:
    most = 20.0 if mechanism.sampler == "truncated" else 60.0
    made = create(home, "toy", most, 1e-5, "example", DATA, relation="zero-out")
    spend(made, "run", mechanism)
    made.commit("run", mechanism.steps)
    file = tmp_path / "statement.json"
    file.write_bytes(sign(claims.of_budget(home, made), home.root))
    done = alone(file, own_fingerprint(home.root))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall("^OK", done.stdout, re.MULTILINE)) == 3


@pytest.mark.slow
def test_the_script_sees_what_is_wrong(home: Home, ledger: Ledger, tmp_path: Path) -> None:
    file, document = tmp_path / "statement.json", stated(home, ledger)
    place = ("guarantee", "fixed_schedule", "epsilon")
    lower = document["guarantee"]["fixed_schedule"]["epsilon"] * 0.95
    file.write_bytes(signed(changed(document, place, lower), home.root))
    done = alone(file, "0" * 32)
    assert done.returncode == 1 and "signed by another key" in done.stdout
    assert "WRONG fixed_schedule" in done.stdout
    text = json.dumps({**changed(document, place, 7.25), "key": ""}, indent=1)
    file.write_bytes(signed_by_anyone(text.replace("7.25", "NaN")))
    done = alone(file)
    assert done.returncode == 1 and "WRONG fixed_schedule" in done.stdout
    file.write_bytes(file.read_bytes().replace(b'"first"', b'"fires"'))
    done = alone(file)
    assert done.returncode == 1 and "InvalidSignature" in done.stderr


def signed_by_anyone(text: str) -> bytes:
    """A statement in which there is what no JSON has."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public = f'"key": "{key.public_key().public_bytes_raw().hex()}"'
    body = text.replace('"key": ""', public).removesuffix("\n}").encode()
    signature = key.sign(body + b"\n}\n").hex().encode()
    return body + b',\n "signature": "%b"\n}\n' % signature


def alone(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The script, where there is no traindeck."""
    code = (
        "import runpy, sys; sys.modules['traindeck'] = None; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    argv = [sys.executable, "-I", "-c", code, str(SCRIPT), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=os.sep)
