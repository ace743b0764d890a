"""A federation's checkpoint: its home knows whose rounds it holds, and nobody else can tell."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from traindeck.core import track
from traindeck.recipes.shared.federated.scientist.resuming import Checkpoints, Trained
from traindeck.recipes.shared.training.data import datasets

KIND = "with dp=local, 2 owners, noise_multiplier 1.1"
Owned = dict[str, dict[str, NDArray[Any]]]


def owned() -> Owned:
    draw = np.random.default_rng(0).integers
    return {
        f"owner-{k}": {"x": draw(0, 256, (12, 8, 8), np.uint8), "y": draw(0, 10, 12, np.uint8)}
        for k in (1, 2)
    }


def moved(record: int, to: str | None) -> Owned:
    """A record of owner-1 left out, or given to another."""
    data = owned()
    first = data["owner-1"]
    if to:
        data[to] = {n: np.concatenate([data[to][n], first[n][record : record + 1]]) for n in first}
    data["owner-1"] = {name: np.delete(array, record, 0) for name, array in first.items()}
    return data


def model(rounds: int = 3) -> Trained:
    draw = np.random.default_rng(1).normal
    return Trained(draw(size=20).astype(np.float32), draw(size=20), rounds)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Be in a home from now on."""

    def be_in(name: str) -> None:
        monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path / name))

    monkeypatch.delenv("TRAINDECK_RUN_FOLDER", raising=False)
    be_in("home")
    return be_in


def write(folder: Path, data: Owned | None, kind: str = KIND) -> Path:
    with track.Run(folder=folder) as run:
        Checkpoints(run, kind, data).write(model())
    [path] = folder.glob("artifacts/checkpoint-*.npz")
    return path


def read(folder: Path, path: Path, data: Owned | None, kind: str = KIND) -> Trained:
    with track.Run(folder=folder) as run:
        return Checkpoints(run, kind, data).read(path, Trained(np.zeros(20, "f4"), np.zeros(20)))


def refused(
    folder: Path, path: Path, data: Owned | None, capsys: pytest.CaptureFixture[str], **more: Any
) -> str:
    with pytest.raises(SystemExit) as ending:
        read(folder, path, data, **more)
    assert ending.value.code == 2
    said = capsys.readouterr().err
    assert "have no common epsilon" in said
    return said


def content(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as state:
        return {name: state[name].tolist() for name in state.files}


def test_a_private_one_tells_no_guess_of_the_data(
    home: Callable[[str], None], tmp_path: Path
) -> None:
    """Who knows the split and all records but one finds nothing in it that depends on that one."""
    with_it, again = write(tmp_path / "a", owned()), write(tmp_path / "b", owned())
    without = write(tmp_path / "c", moved(5, None))
    known, other = content(with_it), content(without)
    random = {"nonce", "seal"}
    assert {name for name in known if known[name] != other[name]} == random
    assert {name for name in known if known[name] != content(again)[name]} == random
    for data in (owned(), moved(5, None)):
        prints = [datasets.fingerprint(*arrays.values()) for arrays in data.values()]
        guesses = [*prints, hashlib.sha256("".join(prints).encode()).hexdigest()]
        text = repr(known) + repr(other)
        assert not [guess for guess in guesses if guess[:12] in text]


def test_its_home_goes_on_from_it(home: Callable[[str], None], tmp_path: Path) -> None:
    path = write(tmp_path / "a", owned())
    resumed = read(tmp_path / "b", path, owned())
    assert resumed.round == 3
    assert np.array_equal(resumed.weights, model().weights)
    assert np.array_equal(resumed.velocity, model().velocity)


@pytest.mark.parametrize(
    "data", [moved(5, None), moved(5, "owner-2"), {}], ids=["left out", "moved", "no owners"]
)
def test_rounds_of_other_data_are_not_gone_on_from(
    home: Callable[[str], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    data: Owned,
) -> None:
    path = write(tmp_path / "a", owned())
    assert "was trained on other data" in refused(tmp_path / "b", path, data, capsys)


def test_another_home_does_not_go_on_from_it(
    home: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a", owned())
    home("another")
    assert "in another home" in refused(tmp_path / "b", path, owned(), capsys)


@pytest.mark.parametrize("part", ["round", "weights", "velocity", "nonce", "seal", "no seal"])
def test_a_changed_one_is_refused(
    home: Callable[[str], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    part: str,
) -> None:
    path = write(tmp_path / "a", owned())
    state = content(path)
    match part:
        case "no seal":
            del state["seal"], state["nonce"]
        case "nonce" | "seal":
            state[part] = state[part][:-1] + ("0" if state[part][-1] != "0" else "1")
        case _:
            state[part] = (np.asarray(state[part]) + 1).tolist()
    np.savez(path, **state)
    assert "was changed since" in refused(tmp_path / "b", path, owned(), capsys)


def test_one_without_privacy_says_nothing_of_data_and_goes_anywhere(
    home: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a", None, "without privacy")
    assert content(path).keys() == {"weights", "velocity", "round", "kind"}
    home("another")
    assert read(tmp_path / "b", path, None, "without privacy").round == 3
    assert not (tmp_path / "home" / "secret.key").exists()
    said = refused(tmp_path / "c", path, owned(), capsys)
    assert f"was trained without privacy, not {KIND}" in said


def test_the_norm_that_moved_is_kept_and_sealed(
    home: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = Trained(model().weights, model().velocity, 3, clipping_norm=0.37)
    with track.Run(folder=tmp_path / "a") as run:
        Checkpoints(run, KIND, owned()).write(moved)
    [path] = (tmp_path / "a").glob("artifacts/checkpoint-*.npz")
    assert read(tmp_path / "b", path, owned()).clipping_norm == 0.37
    np.savez(path, **{**content(path), "clipping_norm": 0.38})
    assert "was changed since" in refused(tmp_path / "c", path, owned(), capsys)


def test_a_damaged_secret_is_named(
    home: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from traindeck.recipes.shared.federated.errors import Failed

    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret.key").write_bytes(b"half")
    with pytest.raises(Failed, match=r"secret\.key.*is damaged"):
        write(tmp_path / "a", owned())
