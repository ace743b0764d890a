"""What an owner keeps for itself, proven on all that crossed: sought, counted and attacked.

Three owners, the last with a single digit, give two updates each. Everything that lay on the drive
is kept. What must not be found in it is found when encryption is off: so the search can fail.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from tests.federated import federated_tools as tools
from tests.federated.federated_tools import Crossed, Row, cosine, spellings
from traindeck.recipes.shared.federated.hiding.fixedpoint import encode

OWNERS = tools.shards(40, 60, 1)
SINGLE = "owner-3"
ROUNDS = 2
HIDING = ("transport", "secagg", "ckks")
CLOSE = {"transport": 1e-6, "plain": 1e-6, "secagg": 1e-5, "ckks": 1e-3}

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@dataclass
class Seen:
    """One federation that has ended, and what its processes were seen to do."""

    root: Path
    crossed: Crossed
    updates: dict[str, list[Row]]
    means: list[Row]
    models: list[NDArray[np.float32]]
    sockets: list[Any]
    processes: int


RUNS: dict[str, Seen] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("proof")
    RUNS.clear()


def seen(mode: str, folder: Path) -> Seen:
    """The federation of a mode, run once; 'plain': encryption was switched off."""
    if mode not in RUNS:
        RUNS[mode] = _run(mode, folder / mode)
    return RUNS[mode]


def _run(mode: str, folder: Path) -> Seen:
    weights = tools.first()
    models, means = [], []
    before = set(psutil.Process().net_connections("all"))
    how = {"aggregation": "transport", "encrypt": False} if mode == "plain" else {}
    with tools.federation(
        folder, OWNERS, rounds=ROUNDS, keep=True, **{"aggregation": mode, **how}
    ) as federation:
        for number in range(1, ROUNDS + 1):
            outcome = federation.round(number, weights)
            assert outcome.examples == 101 and outcome.lost == []
            models.append(weights)
            means.append(outcome.update)
            weights = np.asarray(weights + outcome.update, np.float32)
            federation.tell(number, outcome)
        everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]
        held = [one for process in everyone for one in process.net_connections("all")]
        sockets = [one for one in held if one not in before]
        federation.end_rounds()
        root = federation.root
    updates = {
        name: [np.array(part) for part in np.fromfile(kept).reshape(ROUNDS, -1)]
        for name in OWNERS
        for kept in [root / "owners" / name / "work" / "tmp" / "updates"]
    }
    return Seen(root, tools.crossed(root / "drive"), updates, means, models, sockets, len(everyone))


class TestSearch:
    @pytest.mark.parametrize("mode", HIDING)
    def test_no_row_of_private_data_crossed(self, mode: str, folder: Path) -> None:
        rows = [row for shard in OWNERS.values() for row in shard["x"]]
        assert not seen(mode, folder).crossed.where(s for row in rows for s in spellings(row))

    @pytest.mark.parametrize("mode", HIDING)
    def test_no_update_crossed_in_the_clear(self, mode: str, folder: Path) -> None:
        crossing = seen(mode, folder)
        assert not crossing.crossed.where(_spelled(crossing.updates, OWNERS))

    @pytest.mark.parametrize("mode", (*HIDING, "plain"))
    def test_no_private_key_crossed(self, mode: str, folder: Path) -> None:
        crossing = seen(mode, folder)
        keys = tools.secrets_of(crossing.root)
        assert len(keys) == (3 if mode == "plain" else 3 + 4 * 3)
        for name, spelled in keys.items():
            assert not crossing.crossed.where(spelled), f"{name} lay on the drive"

    def test_nor_the_key_that_owners_share_in_ckks(self, folder: Path) -> None:
        assert not seen("ckks", folder).crossed.where([b"TDCC\x01"])  # how that half begins
        letters = [body for _, _, body in tools.opened(seen("ckks", folder).root)]
        assert letters and not any(b"TDCC\x01" in body for body in letters)

    def test_the_same_search_finds_updates_that_were_not_sealed(self, folder: Path) -> None:
        crossing = seen("plain", folder)
        places = crossing.crossed.where(_spelled(crossing.updates, OWNERS))
        assert {place.rpartition("-")[2] for place in places} == {"1", "2", "3"}
        assert len(places) == len(OWNERS) * ROUNDS

    def test_the_same_search_finds_rows_and_keys_where_they_are(self, folder: Path) -> None:
        root = seen("secagg", folder).root
        home = tools.crossed(root / "owners" / "owner-1")
        row = OWNERS["owner-1"]["x"][3]
        places = {place.rpartition("/")[2] for place in home.where(spellings(row))}
        assert places == {"shard.npz", ".stdout"}  # which the script has printed it to
        keys = tools.secrets_of(root)
        assert home.where(keys["owner-1: identity"]) == {"identity"}
        assert home.where(keys["owner-1@traindeck.invalid: identity_key"])

    @pytest.mark.parametrize("hidden", ("gzip", "base64", "decimals"))
    def test_the_search_looks_into_what_is_packed(self, hidden: str, tmp_path: Path) -> None:
        row = OWNERS["owner-1"]["x"][0]
        packed = {
            "gzip": b"head\n" + gzip.compress(b"..." + row.tobytes()),
            "base64": json.dumps({"a": base64.b64encode(b"?" + row.tobytes()).decode()}).encode(),
            "decimals": json.dumps(row.ravel().tolist()).encode(),
        }[hidden]
        (tmp_path / "object").write_bytes(packed)
        assert tools.crossed(tmp_path).where(spellings(row)) == {"object"}

    @pytest.mark.parametrize("mode", HIDING)
    def test_nobody_listens_and_nobody_connects(self, mode: str, folder: Path) -> None:
        crossing = seen(mode, folder)
        assert crossing.processes >= 1 + 1 + 3 * 3  # ours, the warm one, owner, job server and job
        assert {one.family.name for one in crossing.sockets} <= {"AF_UNIX"}
        assert not [one.laddr for one in crossing.sockets if one.laddr]  # unnamed: socket pairs

    def test_secrets_are_readable_for_their_owner_alone(self, folder: Path) -> None:
        root = seen("secagg", folder).root
        keys = [*root.rglob("crypto_keys.json"), *root.rglob("identity"), *root.rglob("answered")]
        assert len(keys) == 4 + 3 + 3
        homes = [root, root / "scientist", *(root / "owners").iterdir()]
        assert not [str(path) for path in (*keys, *homes) if path.stat().st_mode & 0o077]


def _spelled(updates: dict[str, list[Row]], shards: Any) -> Iterator[bytes]:
    """Pieces of the owners' updates as they may be found, fixed point included."""
    for name, close in updates.items():
        examples = len(shards[name]["x"])
        for update in close:
            strong = int(np.abs(update).argmax()) // 32 * 32
            for row in (update[-42:], update[strong : strong + 32]):
                yield from spellings(row)
                yield from spellings(encode(row, examples, 10.0))
                yield from spellings(row * examples)


class TestCount:
    @pytest.mark.parametrize("mode", (*HIDING, "plain"))
    def test_every_byte_that_left_is_counted_in_its_class(self, mode: str, folder: Path) -> None:
        crossing = seen(mode, folder)
        drive = crossing.root / "drive"
        for name in OWNERS:
            out = tools.status(crossing.root, name)["bytes_out"]
            mail = dict.fromkeys(out, 0)
            for path, facts in _letters(crossing.root, name, mode != "plain"):
                mail[_class(mode, facts["type"])] += path.stat().st_size
            objects = dict.fromkeys(out, 0)
            for path in drive.glob("*.object"):
                head, _, body = path.read_bytes().partition(b"\n")
                if json.loads(head)["owners"][0]["emailAddress"] == f"{name}@traindeck.invalid":
                    mock = b"mock.npz" in head
                    kind = "ciphertext" if tools.adapter.sealed(body) else "metadata"
                    objects["mock" if mock else kind] += path.stat().st_size
            assert (out["raw"], out["masked"]) == (mail["raw"], mail["masked"])
            for kind in ("ciphertext", "metadata", "mock"):
                # An object that was written twice left twice, and lies there once.
                assert mail[kind] + objects[kind] <= out[kind] <= mail[kind] + 4 * objects[kind]
            assert (out["raw"] > 0) == (mode == "plain")
            assert (out["masked"] > 0) == (mode == "secagg")
            assert out["mock"] > 0

    def test_the_panel_says_what_is_in_force(self, folder: Path) -> None:
        shown = {mode: tools.shown(seen(mode, folder).root) for mode in (*HIDING, "plain")}
        assert "can read each owner's update" in shown["transport"]["visible"]
        assert "no single one" in shown["secagg"]["visible"]
        assert "cannot open" in shown["ckks"]["visible"]
        assert shown["plain"]["encryption"].startswith("None")
        for one in shown.values():
            assert one["phase"] == "done"
            assert [each["states"] for each in one["rounds"]] == [
                dict.fromkeys(OWNERS, "sent")
            ] * ROUNDS


def _letters(root: Path, name: str, sealed: bool) -> list[tuple[Path, dict[str, Any]]]:
    """An owner's letters to the data scientist: where each is kept, and its facts."""
    letters = tools.opened(root, sealed=sealed)
    paths = sorted((root / "drive" / "mail" / "kept").glob("scientist-*"))
    with_facts = [(path, facts) for path, (_, facts, _) in zip(paths, letters, strict=True)]
    mine = [(path, facts) for path, facts in with_facts if path.name.endswith(f"-{name}")]
    assert len(mine) >= 1 + ROUNDS
    return mine


def _class(mode: str, type: str) -> str:
    """Of a letter's bytes; see the words of `status.CLASSES`."""
    if type == "update":
        return {"plain": "raw", "secagg": "masked"}.get(mode, "ciphertext")
    return "ciphertext" if type == "answer" else "metadata"


class TestMeans:
    @pytest.mark.parametrize("mode", (*HIDING, "plain"))
    def test_the_mean_is_that_of_the_owners_updates(self, mode: str, folder: Path) -> None:
        crossing = seen(mode, folder)
        for number, (model, mean) in enumerate(zip(crossing.models, crossing.means, strict=True)):
            for name, shard in OWNERS.items():
                same = tools.true_update(model, shard)
                np.testing.assert_allclose(crossing.updates[name][number], same, rtol=0, atol=1e-12)
            expected = tools.mean(model, OWNERS, OWNERS)
            np.testing.assert_allclose(mean, expected, rtol=0, atol=CLOSE[mode])

    @pytest.mark.parametrize("mode", ("secagg", "ckks"))
    def test_modes_agree_with_transport(self, mode: str, folder: Path) -> None:
        for one, other in zip(
            seen(mode, folder).means, seen("transport", folder).means, strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=0, atol=CLOSE[mode])


class TestAttack:
    """An aggregator that follows the rules, keeps all it is sent and opens what it can."""

    @pytest.fixture(scope="class")
    def letters(self, folder: Path) -> dict[str, dict[str, list[bytes]]]:
        """Of each mode, by owner: the bodies of its updates in plain, under syft's seal."""
        return {
            mode: {
                name: [
                    body
                    for sender, facts, body in tools.opened(seen(mode, folder).root)
                    if sender == name and facts["type"] == "update"
                ]
                for name in OWNERS
            }
            for mode in HIDING
        }

    @pytest.mark.parametrize("name", OWNERS)
    def test_it_reads_an_update_in_transport_and_in_no_other_mode(
        self, name: str, letters: dict[str, dict[str, list[bytes]]], folder: Path
    ) -> None:
        for mode in HIDING:
            bodies, updates = letters[mode][name], seen(mode, folder).updates[name]
            assert len(bodies) == ROUNDS
            for body, update in zip(bodies, updates, strict=True):
                likeness = [abs(cosine(guess, update)) for guess in _guesses(body, len(update))]
                assert max(likeness) > 0.99 if mode == "transport" else max(likeness) < 0.1

    def test_what_is_left_of_the_sum_is_no_update(
        self, letters: dict[str, dict[str, list[bytes]]], folder: Path
    ) -> None:
        """All that is linear in what it has: masked vectors, their sum, its mean."""
        crossing = seen("secagg", folder)
        for number in range(ROUNDS):
            masked = {
                name: np.frombuffer(bodies[number], "<u8")[:-1]
                for name, bodies in letters["secagg"].items()
            }
            total = encode(crossing.means[number] * 1.0, 101, 10.0)[:-1].view(np.uint64)
            for name, update in ((name, each[number]) for name, each in crossing.updates.items()):
                others = sum((masked[o] for o in masked if o != name), np.zeros_like(total))
                for guess in (total - masked[name], total - others, masked[name] - others):
                    assert abs(cosine(guess.view(np.int64).astype(float), update)) < 0.1

    def test_gradient_inversion_shows_a_picture_in_transport_alone(
        self, letters: dict[str, dict[str, list[bytes]]], folder: Path
    ) -> None:
        """Each column of the first layer's gradient of one example is that example, scaled."""
        picture = OWNERS[SINGLE]["x"][0].ravel().astype(float)
        picture -= picture.mean()
        for mode in HIDING:
            for body in letters[mode][SINGLE]:
                close = []
                for guess in _guesses(body, tools.SIZE):
                    layer = guess[: tools.INPUTS * 32].reshape(tools.INPUTS, 32)
                    strongest = np.linalg.svd(layer)[0][:, 0]
                    close.append(abs(cosine(strongest - strongest.mean(), picture)))
                assert max(close) > 0.99 if mode == "transport" else max(close) < 0.7

    def test_the_sum_shows_what_it_says_it_shows(self, folder: Path) -> None:
        """No more is hidden than is claimed: the mean of all is there for the aggregator."""
        crossing = seen("secagg", folder)
        assert cosine(crossing.means[0], tools.mean(crossing.models[0], OWNERS, OWNERS)) > 0.999999


def _guesses(body: bytes, size: int) -> Iterator[Row]:
    """What bytes could be as an update: numbers of several types."""
    for kind in ("<f4", "<f8", "<i8", "<i4", "i1"):
        whole = body[: len(body) // np.dtype(kind).itemsize * np.dtype(kind).itemsize]
        with np.errstate(all="ignore"):
            guess = np.frombuffer(whole, kind).astype(np.float64)[:size]
            guess = np.nan_to_num(guess, posinf=0, neginf=0)
        if "f" in kind:  # else the few largest of what are no floats would be all that is seen
            guess = guess.clip(-1e3, 1e3)
        if len(guess) == size and np.any(guess):
            yield guess
