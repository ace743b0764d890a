"""The commands of the documentation do what its text says, as far as they train nothing."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_papers import ROOT, papers

Command = Callable[..., subprocess.CompletedProcess[str]]
CHEAP = ("create", "forecast", "show", "verify", "set", "derive")
LINE = re.compile(r"^ {4}(traindeck [^#\n]+)", re.MULTILINE)
PRIVATE_RUN = re.compile(r"traindeck run (?=[\w-]+-dp\b|.*-p dp=)(.*)")


def commands(paper: Path) -> list[list[str]]:
    """Its budget commands in their order; of a private run's launch, the forecast of it."""
    listed = []
    for line in LINE.findall(paper.read_text()):
        first, _, _ = line.partition("&&")
        if private := PRIVATE_RUN.match(first):
            words = shlex.split(private[1])
            listed.append(["budget", "forecast", *(word for word in words if word != "--wait")])
        elif first.startswith("traindeck budget ") and first.split()[2] in CHEAP:
            listed.append(shlex.split(first)[1:])
    return listed


WITH_BUDGETS = [paper for paper in papers() if commands(paper)]


def test_the_chapters_with_budgets_are_found() -> None:
    names = {paper.relative_to(ROOT).as_posix() for paper in WITH_BUDGETS}
    assert names >= {"core/privacy/README.md", "recipes/shared/federated/README.md"}
    federated = commands(ROOT / "recipes/shared/federated/README.md")
    assert ["budget", "forecast", "syft-fedavg", "-p", "dp=central"] in federated


@pytest.mark.slow
@pytest.mark.parametrize(
    "paper", WITH_BUDGETS, ids=lambda paper: paper.relative_to(ROOT).as_posix()
)
def test_a_chapters_budget_commands_do_in_their_order_what_they_say(
    paper: Path, traindeck: Command
) -> None:
    """None is refused: each ends with 0 in a home where those before it were given."""
    for words in commands(paper):
        traindeck(*words)


@pytest.mark.slow
def test_a_budget_of_owners_refuses_a_run_as_dear_as_itself(
    traindeck: Command,
) -> None:
    """As the chapter on federations says of one of 20, and which relation it is under."""
    budget = ("budget", "create", "mnist-owners", "--unit", "owner", "--delta", "1e-5")
    traindeck(*budget, "--epsilon", "20")
    refused = traindeck("budget", "forecast", "syft-fedavg", "-p", "dp=central", code=5)
    assert "it does not fit" in refused.stdout
    shown = traindeck("budget", "show", "mnist-owners")
    assert "for one owner (zero-out over public owners)" in shown.stdout


@pytest.mark.slow
def test_a_budget_of_records_refuses_what_has_no_privacy(traindeck: Command) -> None:
    """As the chapters say: exit code 5; and data has one budget, in one unit."""
    traindeck("budget", "create", "digits", "--epsilon", "4", "--delta", "1e-5")
    for words in (["torch-digits"], ["syft-fedavg", "-p", "dataset=digits"]):
        traindeck("run", *words, code=5)
    owners = ("budget", "create", "digits-owners", "--unit", "owner", "--epsilon", "22")
    refused = traindeck(*owners, "--delta", "1e-5", code=5)
    assert "data has one budget, in one unit" in refused.stderr
