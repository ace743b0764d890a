"""What was typed behind a script are its parameters."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from traindeck.core.recipe.params import ParamError, Value
from traindeck.core.recipe.typed import changed, parameters


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python train.py --lr 0.5 --flag", {"lr": 0.5, "flag": True}),
        ("python -u train.py --batch-size=32 --name x", {"batch_size": 32, "name": "x"}),
        ("torchrun --nproc 2 train.py --lr 1e-3", {"lr": 1e-3}),
        ("python -m pkg.train --lr 0.1 -n 3", {"lr": 0.1, "n": 3}),
        ("python train.py lr=0.1 a.b=3 +new=true", {"lr": 0.1, "a.b": 3, "new": True}),
        ("python train.py --offset -3", {"offset": -3}),
        ("./train --epochs 3", {"epochs": 3}),
        ("bash -c echo --no", {}),
        ("sleep 60", {}),
        ("python -c print(1) --x 1", {}),
        ("papermill a.ipynb b.ipynb -p lr 0.5 -p n 3 --log-output",
         {"lr": 0.5, "n": 3, "log_output": True}),
    ],
)  # fmt: skip
def test_flags_and_overrides_are_parameters(command: str, expected: dict[str, Value]) -> None:
    assert parameters(command.split(), ".") == expected


def test_a_configuration_file_is_read_and_flags_have_the_last_word(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "# small\nlr: 0.1\nmodel:\n  depth: 3  # layers\n  name: 'net'\nlist:\n  - 1\nseed: 7\n"
    )
    (tmp_path / "b.json").write_text(json.dumps({"opt": {"beta": 0.9}}))
    said = parameters(
        ["python", "train.py", "--config", "a.yaml", "b.json", "--lr", "0.5"], str(tmp_path)
    )
    assert said == {
        "opt.beta": 0.9,
        "lr": 0.5,
        "model.depth": 3,
        "model.name": "net",
        "seed": 7,
        "config": "a.yaml",
    }


@pytest.mark.parametrize(
    ("command", "changes", "expected"),
    [
        ("python t.py --lr 0.5 --flag", {"lr": "0.05"}, "python t.py --lr 0.05 --flag"),
        ("python t.py --lr=0.5", {"lr": 0.05}, "python t.py --lr=0.05"),
        ("python t.py lr=0.5", {"lr": 0.05, "new": 1}, "python t.py lr=0.05 new=1"),
        ("python t.py --flag", {"flag": "false"}, "python t.py"),
        ("python t.py", {"flag": "true", "lr": "1"}, "python t.py --flag --lr 1"),
        ("papermill a b -p lr 0.5", {"lr": 1, "n": 3}, "papermill a b -p lr 1 -p n 3"),
    ],
)
def test_a_parameter_is_changed_where_it_stands(
    command: str, changes: dict[str, Value], expected: str
) -> None:
    assert " ".join(changed(command.split(), changes, ".")) == expected


DECLARED = """
parser.add_argument("--hidden", "-H", type=int, nargs="+", help="sizes (of layers")
parser.add_argument("--names", nargs='*')
parser.add_argument("--pair", nargs=2, type=float)
parser.add_argument("--maybe", nargs="?")
parser.add_argument("--out")
parser.add_argument("--fast", action="store_true")
parser.add_argument("--slow", action=argparse.BooleanOptionalAction)
# parser.add_argument("--three", nargs=2)
add = parser.add_argument
add(
    "--three",  # here, nargs=2 would not do (see "--pair", nargs="*")
    help="HELP",
    nargs=3,
)
sys.argv.index("--pair")


@click.option("--shout/--whisper", " /-w", default=False)
@click.option("-v", "--verbose", count=True)
@click.option("--many", nargs=-1)
def main(): ...
""".replace("HELP", "long words, " * 100)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--hidden 8 16 --lr 0.5", {"hidden": "8 16", "lr": 0.5}),
        ("-H 8 -16", {"H": "8 -16"}),
        ("--hidden 8", {"hidden": 8}),
        ("--names a=1 b 3", {"names": "a=1 b 3"}),
        ("--pair 1 2 3", {"pair": "1 2"}),
        ("--maybe 1 2", {"maybe": 1}),
        ("--out 1 2", {"out": 1}),
        ("--fast data.csv", {"fast": True}),
        ("--slow data.csv", {"slow": True}),
        ("--three 1 2 3 4", {"three": "1 2 3"}),
        ("--shout data.csv", {"shout": True}),
        ("--whisper data.csv", {"whisper": True}),
        ("-w data.csv", {"w": True}),
        ("-v data.csv", {"v": True}),
        ("--many 1 b 2", {"many": "1 b 2"}),
        ("--other 8 16 data.csv", {"other": "8 16"}),
        ("--other a b", {"other": "a"}),
    ],
)
def test_a_flag_has_the_values_that_its_script_says_it_has(
    tmp_path: Path, words: str, expected: dict[str, Value]
) -> None:
    (tmp_path / "t.py").write_text(DECLARED)
    assert parameters(["python", "t.py", *words.split()], str(tmp_path)) == expected


def test_a_warning_of_the_script_itself_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(DECLARED + 're.match("\\d", x)\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = parameters(["t.py", "--fast", "data.csv"], str(tmp_path))
    assert found == {"fast": True}


@pytest.mark.parametrize("source", ["print 'python 2'", "\0", "(" * 5000])
def test_a_script_that_cannot_be_parsed_says_nothing_of_its_flags(
    tmp_path: Path, source: str
) -> None:
    (tmp_path / "t.py").write_text(source + DECLARED)
    assert parameters(["t.py", "--fast", "data.csv"], str(tmp_path)) == {"fast": "data.csv"}


@pytest.mark.parametrize(
    ("words", "changes", "expected"),
    [
        ("--hidden 8 16 --lr 1", {"hidden": "4"}, "--hidden 4 --lr 1"),
        ("--hidden 8", {"hidden": "4 8 2"}, "--hidden 4 8 2"),
        ("--lr 1", {"names": "a b"}, "--lr 1 --names a b"),
        ("--out a b", {"out": "c"}, "--out c b"),
        ("--out a", {"out": "b c"}, "--out|b c"),
        ("--fast data.csv", {"fast": "false"}, "data.csv"),
        ("--other 8 16 data.csv", {"other": 4}, "--other 4 data.csv"),
        ("--other 8 data.csv", {"other": "4 2"}, "--other 4 2 data.csv"),
    ],
)
def test_setting_a_flag_replaces_all_its_values(
    tmp_path: Path, words: str, changes: dict[str, Value], expected: str
) -> None:
    (tmp_path / "t.py").write_text(DECLARED)
    after = expected.split("|") if "|" in expected else expected.split()
    assert changed(["t.py", *words.split()], changes, str(tmp_path))[1:] == after


@pytest.mark.parametrize("words", ["--other a b", "--other 8 relu 16", "--other a 8 --lr 1"])
def test_no_value_is_lost_where_it_is_not_known_whose_a_word_is(words: str) -> None:
    with pytest.raises(ParamError, match="values is not known"):
        changed(["t", *words.split()], {"other": "c"}, ".")
