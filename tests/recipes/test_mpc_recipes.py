"""The recipes that compute on shares, by hand: real owners, real sandbox, few rounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import traindeck.recipes
from tests.core.privacy.ledgers import made
from traindeck.recipes.shared.training.data import datasets

FOLDER = Path(traindeck.recipes.__file__).parent / "syft"
PATIENCE = 240.0  # PySyft takes long to load on a busy machine


pytestmark = pytest.mark.framework


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TRAINDECK_RUN_FOLDER", "TRAINDECK_DEVICE", "TRAINDECK_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def run(recipe: str, *flags: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(FOLDER / recipe), *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def difference(text: str) -> float:
    return float(text.split("the same training in the clear ")[1].split(";")[0])


def test_owners_train_on_shares() -> None:
    text = run("mpc_logreg.py", "--rounds", 4, "--batch-size", 16)
    assert difference(text) < 1e-4
    assert "owner-3 sent" in text
    assert "warning" not in text


def test_hospitals_find_their_patients_and_train() -> None:
    text = run("psi_align.py", "--rounds", 3, "--batch-size", 16, "--share", 0.5)
    assert " patients in common; test accuracy 0." in text
    assert difference(text) < 1e-4


def test_a_client_has_its_images_read(tmp_path: Path) -> None:
    text = run("mpc_infer.py", "--dataset", "digits", "--images", 4, "--hidden", 8)
    assert "; 0 labels differ; " in text


@pytest.mark.parametrize(
    ("recipe", "data", "flags"),
    [
        ("mpc_logreg.py", "cancer", []),
        ("mpc_logreg.py", "digits", ["--dataset=digits"]),
        ("mpc_infer.py", "digits", ["--dataset=digits"]),
        ("psi_align.py", "cancer", []),
    ],
)
def test_budgeted_data_under_another_name_is_known_by_its_contents(
    recipe: str, data: str, flags: list[str], tmp_path: Path
) -> None:
    made(tmp_path / "home" / "ledger", "renamed", fingerprint=datasets.of(data))
    assert "renamed has a privacy budget and" in run(recipe, *flags, code=5)
    assert not list(tmp_path.glob("**/federation"))


def test_an_owner_that_has_a_budget_takes_no_part(tmp_path: Path) -> None:
    made(tmp_path / "home" / "ledger", "cancer.owner-2")
    text = run("mpc_logreg.py", code=5)
    assert "owner-2 has refused the job: cancer.owner-2 has a privacy budget and" in text


def test_what_is_no_such_model_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "checkpoint-00000001.npz", weights=np.zeros(7))
    text = run("mpc_infer.py", "--model", tmp_path / "checkpoint-00000001.npz", code=4)
    assert "checkpoint-00000001.npz is no checkpoint of syft-fedavg" in text
    (tmp_path / "empty").mkdir()
    assert "no checkpoint-*.pt" in run("mpc_infer.py", "--model", tmp_path / "empty", code=4)
    assert "no such file" in run("mpc_infer.py", "--model", tmp_path / "none", code=4)
