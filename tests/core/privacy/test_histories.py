"""What was spent, in other libraries' terms and from them."""

from __future__ import annotations

import collections
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.core.privacy.private_recipes import Command, run, shown
from traindeck.core.base.errors import UsageError
from traindeck.core.privacy import accountant
from traindeck.core.privacy.histories import read, written
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism

POISSON = Mechanism(1.1, 0.01, 500)
FULL = Mechanism(5.0, 1.0, 10, "none")
SHUFFLED = Mechanism(4.0, 0.1, 25, "shuffle", 3)
BANDED = Mechanism(3.0, 0.01, 100, bands=8)
SOME = [POISSON, FULL, SHUFFLED, BANDED]
NAMED = {"module_name": "dp_accounting.dp_event"}
GAUSSIAN = {**NAMED, "class_name": "GaussianDpEvent", "noise_multiplier": 2.0}


def as_library(value: Any) -> Any:
    """dp-accounting's own event, of what was written for it."""
    from dp_accounting.dp_event import DpEvent

    def tuples(one: Any) -> Any:
        if isinstance(one, list):
            return [tuples(each) for each in one]
        if not isinstance(one, dict):
            return one
        made = collections.namedtuple("Event", one)  # type: ignore[misc]
        return made(**{name: tuples(each) for name, each in one.items()})

    return DpEvent.from_named_tuple(tuples(value))


def history(value: Any, form: str = "") -> list[Mechanism]:
    return list(read(json.dumps(value).encode(), form).mechanisms)


def test_dp_accounting_reads_its_own_events_and_comes_to_the_same() -> None:
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    event = as_library(written(SOME, "dp-accounting", True))
    exact = accountant.epsilon(SOME, 1e-5)
    pld = PLDAccountant().compose(event).get_epsilon(1e-5)
    assert pld == pytest.approx(exact, rel=5e-3)
    order = 8.0
    rdp = RdpAccountant([order]).compose(event)
    ours = sum(one.steps * accountant.rho(one, order) for one in SOME)
    assert float(rdp.rdp[0]) == pytest.approx(ours, rel=1e-9)


@pytest.mark.parametrize("form", ["dp-accounting", "opacus", "opacus-prv"])
def test_what_is_read_again_costs_the_same(form: str) -> None:
    again = history(written(SOME, form, True))
    for order in (1.5, 8.0, 64.0):
        costs = [
            sum(one.steps * accountant.rho(one, order) for one in each) for each in (SOME, again)
        ]
        assert costs[0] == pytest.approx(costs[1], rel=1e-12)


def test_truncated_batches_are_dp_accountings_alone() -> None:
    from dp_accounting.pld import PLDAccountant

    truncated = Mechanism(1.84, 2048 / 60000, 100, "truncated", max_batch=2578, records=60000)
    event = as_library(written([truncated], "dp-accounting", True))
    assert "TruncatedSubsampledGaussianDpEvent" in str(event)
    theirs = PLDAccountant().compose(event).get_epsilon(1e-5)
    assert theirs == pytest.approx(accountant.epsilon([truncated], 1e-5), rel=5e-3)
    with pytest.raises(UsageError, match="of which opacus knows nothing: dp-accounting does"):
        written([truncated], "opacus", True)


def test_a_named_tuple_that_went_through_json_is_read() -> None:
    """As whoever has a plan of jax-privacy's would write its event."""
    import dp_accounting as dp

    gaussian = dp.PoissonSampledDpEvent(0.01, dp.GaussianDpEvent(1.1))
    event = dp.ComposedDpEvent([dp.SelfComposedDpEvent(gaussian, 300), dp.NoOpDpEvent()])
    twice = dp.SelfComposedDpEvent(event, 2)
    assert history(twice.to_named_tuple()) == [Mechanism(1.1, 0.01, 600)]


def test_infinite_runs_make_what_is_written_infinite() -> None:
    from dp_accounting.pld import PLDAccountant

    event = as_library(written(SOME, "dp-accounting", False))
    assert math.isinf(PLDAccountant().compose(event).get_epsilon(1e-5))
    assert written(SOME, "opacus", False)["history"][-1] == [0.0, 1.0, 1]
    assert written(SOME, "zcdp", False)["zcdp"]["rho"] is None
    assert written([], "zcdp", True)["zcdp"]["rho"] == 0


def test_zcdp_and_gdp_are_those_without_amplification_and_said_so() -> None:
    plain = written([FULL, SHUFFLED], "zcdp", True)  # 10 of noise 5, 3 passes of noise 4
    square = 10 / 25 + 3 / 16
    assert plain["zcdp"] == {"rho": pytest.approx(square / 2, rel=1e-12), "xi": 0.0}
    assert plain["gdp"] == {"mu": pytest.approx(math.sqrt(square), rel=1e-12)}
    assert plain["zcdp"]["rho"] >= square / 2
    sampled = written([POISSON], "zcdp", True)
    assert sampled["zcdp"]["rho"] >= 500 / 1.1**2 / 2 and "amplification" in str(sampled)
    assert sampled["gdp"]["mu"] is None and "no bound" in sampled["gdp"]["why_none"]
    for order in (1.25, 8.0, 64.0):  # and it is a bound
        assert accountant.rho(POISSON, order) * 500 <= sampled["zcdp"]["rho"] * order


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({**GAUSSIAN, "class_name": "LaplaceDpEvent"}, "LaplaceDpEvent .* no mechanism"),
        ({**GAUSSIAN, "module_name": "os"}, "GaussianDpEvent of os is no mechanism"),
        ({**NAMED, "class_name": "NonPrivateDpEvent"}, "NonPrivateDpEvent"),
        ({**GAUSSIAN, "more": 1}, "has noise_multiplier, not"),
        ({**GAUSSIAN, "noise_multiplier": 0.0}, "no finite epsilon to charge"),
        ({**GAUSSIAN, "noise_multiplier": 0.01}, "no finite epsilon to charge"),
        ({**GAUSSIAN, "noise_multiplier": -1}, r"is not from 0 to 1e\+08"),
        ({**GAUSSIAN, "noise_multiplier": "2"}, r"is not from 0 to 1e\+08"),
        ({**GAUSSIAN, "noise_multiplier": True}, r"is not from 0 to 1e\+08"),
        (["dp_accounting.dp_event", "ZCDpEvent", 0.5, 0.0], "ZCDpEvent .* no mechanism"),
        (
            {**NAMED, "class_name": "SelfComposedDpEvent", "event": GAUSSIAN, "count": -1},
            "count -1",
        ),
        (
            {**NAMED, "class_name": "SelfComposedDpEvent", "event": GAUSSIAN, "count": 10**10},
            "count",
        ),
        ({**NAMED, "class_name": "ComposedDpEvent", "events": {}}, "no list"),
        ({**NAMED, "class_name": "ComposedDpEvent", "events": []}, "nothing was released"),
        ({"history": [[1.0, 0.1]], "mechanism": "rdp"}, "entry 0 of the history"),
        ({"history": [[1.0, 1.5, 10]], "mechanism": "rdp"}, "sampling_rate 1.5"),
        ({"history": [[1e300, 0.1, 10]]}, r"is not from 0 to 1e\+08"),
        ({"history": [[1e5, 0.1, 10]]}, "beyond what is accounted for"),
        ({"history": [[1.0, 1e-300, 10]]}, "beyond what is accounted for"),
        ({"history": [[1.0, 0, 10]], "mechanism": "rdp"}, "sampling_rate 0"),
        ({"history": [[1.0, 0.1, 1.5]], "mechanism": "rdp"}, "steps 1.5"),
        ({"history": [[1.0, 0.1, 10]], "mechanism": "moments"}, "no accountant 'moments'"),
        ({"history": "all", "mechanism": "rdp"}, "is a list of"),
        ({"history": [], "mechanism": "rdp"}, "nothing was released"),
        ([[1.0 + k / 1000, 0.1, 1] for k in range(1001)], "more than 1000 kinds"),
        ({"event": 1}, "lacks the class_name"),
        (7, "is no event"),
    ],
)
def test_what_cannot_be_charged_is_refused_by_its_name(value: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        history(value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"history": [[NaN, 0.1, 1]]}',
        b'{"history": [[1.0, 0.1, 1000]], "history": [[1.0, 0.1, 1]]}',
        b'{"history": [[Infinity, 0.1, 1]]}',
        b'{"history": [[1e999, 0.1, 1]]}',
        b"PK\x03\x04 a checkpoint",
        b"\x80\x04\x95 a pickle",
        b"[" * 100_000,
        b"",
    ],
)
def test_what_is_no_number_or_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        read(data)


def test_a_ledger_of_many_kinds_is_written_though_no_more_than_a_thousand_are_read() -> None:
    many = [Mechanism(1.0 + n / 1000, 0.01, 5) for n in range(1001)]
    made = written(many, "opacus", True)
    assert len(made["history"]) == 1001
    with pytest.raises(UsageError, match="more than 1000 kinds of steps"):
        history(made)


def test_events_are_followed_so_deep_and_no_deeper() -> None:
    event: Any = GAUSSIAN
    for _ in range(19):
        event = {**NAMED, "class_name": "ComposedDpEvent", "events": [event]}
    assert history(event) == [Mechanism(2.0, 1.0, 1, "none")]
    with pytest.raises(UsageError, match="deep"):
        history({**NAMED, "class_name": "ComposedDpEvent", "events": [event, event]})


WRITES = """
import json
from opacus.accountants import RDPAccountant
made = RDPAccountant()
for _ in range(300):
    made.step(noise_multiplier=1.1, sample_rate=0.01)
for _ in range(5):
    made.step(noise_multiplier=2.0, sample_rate=0.01)
print(json.dumps(made.state_dict()))
"""
READS = """
import json, sys
from opacus.accountants import PRVAccountant, RDPAccountant
for kind in (RDPAccountant, PRVAccountant):
    made = kind()
    made.load_state_dict(json.load(open(sys.argv[1 + (kind is PRVAccountant)])))
    print(made.get_epsilon(delta=1e-5))
"""


def python(code: str, *words: str) -> str:
    argv = [sys.executable, "-W", "ignore", "-c", code, *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.usefixtures("recipes")
class TestCommands:
    def test_opacus_accounts_for_what_was_spent_here(
        self, traindeck: Command, budget: Ledger, tmp_path: Path
    ) -> None:
        run(traindeck, "private", "-p", "steps=50")
        files = []
        for form in ("opacus", "opacus-prv"):
            files.append(tmp_path / f"{form}.json")
            files[-1].write_text(traindeck("budget", "export", "toy", "--as", form).stdout)
        rdp, prv = map(float, python(READS, *map(str, files)).split())
        ours = shown(traindeck)["epsilon_spent_pld"]
        assert ours <= rdp and prv == pytest.approx(ours, rel=0.02)
        traindeck("budget", "export", "toy", "--as", "moments", code=2)

    def test_a_run_of_opacus_is_charged_once_and_shown_as_what_it_is(
        self, traindeck: Command, budget: Ledger, tmp_path: Path
    ) -> None:
        file = tmp_path / "elsewhere.json"
        file.write_text(python(WRITES))
        told = traindeck("budget", "import", "toy", str(file)).stdout
        assert "300 steps, noise 1.1, rate 0.01" in told and "5 steps, noise 2" in told
        account = budget.account()
        wanted = [Mechanism(1.1, 0.01, 300), Mechanism(2.0, 0.01, 5)]
        assert [one.mechanism for one in account.runs] == wanted
        costs = [accountant.rho(one, account.order) * one.steps for one in wanted]
        assert account.rho_spent == pytest.approx(sum(costs)) and not account.rho_reserved
        assert "already" in traindeck("budget", "import", "toy", str(file), code=5).stderr
        assert budget.account().rho_spent == account.rho_spent
        traindeck("budget", "import", "toy", str(file), "--run", "second")
        assert budget.account().rho_spent == pytest.approx(2 * sum(costs))
        text = traindeck("budget", "show", "toy").stdout
        assert "opacus: elsewhere.json" in text and "  imported  " in text
        assert "  import  " in traindeck("budget", "history", "toy").stdout
        out = tmp_path / "statement.json"
        traindeck("budget", "statement", "toy", "-o", str(out))
        assert "imported" in out.with_suffix(".md").read_text()
        traindeck("verify", str(out))
        assert "runs are recorded" in traindeck("budget", "rm", "toy", "--yes", code=5).stderr

    def test_what_was_exported_and_is_imported_again_costs_the_same(
        self, traindeck: Command, budget: Ledger, tmp_path: Path
    ) -> None:
        run(traindeck, "private", "-p", "steps=50")
        first = budget.account()
        for form in ("opacus", "dp-accounting"):
            file = tmp_path / f"{form}.json"
            file.write_text(traindeck("budget", "export", "toy", "--as", form).stdout)
            traindeck("budget", "create", form, "--epsilon", "3", "--delta", "1e-5")
            traindeck("budget", "import", form, str(file), "--format", form)
            assert Ledger(budget.folder, form).account().rho_spent == first.rho_spent
            own = traindeck("budget", "import", "toy", str(file), code=2).stderr
            assert "comes to itself: its runs are charged already" in own
        assert budget.account().rho_spent == first.rho_spent

    def test_what_does_not_fit_is_recorded_when_it_is_said_to_be_released(
        self, traindeck: Command, budget: Ledger, tmp_path: Path
    ) -> None:
        file = tmp_path / "large.json"
        file.write_text('{"history": [[1.0, 0.05, 2000]], "mechanism": "rdp"}')
        refused = traindeck("budget", "import", "toy", str(file), code=5).stderr
        assert "what is released is released: --already-released" in refused
        assert not budget.account().runs
        told = traindeck("budget", "import", "toy", str(file), "--already-released").stdout
        assert "is overdrawn: it admits nothing more" in told
        account = budget.account()
        assert account.rho_left < 0 and account.rho_spent > account.rho_budget
        text = traindeck("budget", "show", "toy").stdout
        assert "overdrawn  more is charged than it admits: epsilon" in text
        assert "0 % left" in text
        traindeck("run", "private", code=5)
        document = json.loads(traindeck("budget", "statement", "toy").stdout)
        assert document["guarantee"]["filter"]["within_budget"] is False
        assert document["guarantee"]["filter"]["epsilon"] > 3

    def test_what_is_of_another_kind_is_refused(
        self, traindeck: Command, budget: Ledger, tmp_path: Path
    ) -> None:
        file = tmp_path / "one.json"
        file.write_text(json.dumps(GAUSSIAN | {"noise_multiplier": 20.0}))
        words = ("budget", "import", "toy", str(file))
        assert "--unit example where" in traindeck(*words, "--unit", "user", code=5).stderr
        traindeck(*words, "--unit", "people", code=2)
        traindeck(*words, "--format", "pickle", code=2)
        traindeck(*words, "--format", "opacus", code=2)
        traindeck("budget", "import", "toy", str(tmp_path / "gone"), code=3)
        traindeck("budget", "import", "digits", str(file), code=3)
        assert not budget.account().runs
        traindeck(*words)
