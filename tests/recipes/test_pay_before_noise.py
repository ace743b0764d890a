"""No private recipe releases noise that is not paid for: seen as it runs, and in its source."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import pytest

import traindeck.recipes
from tests.core.privacy.ledgers import made
from tests.training.idxfiles import write
from traindeck.core.recipe.read import read_recipe
from traindeck.recipes.shared.training.dp import loop

RECIPES = Path(traindeck.recipes.__file__).parent
ROOT = Path(__file__).parent.parent.parent
NAMES = ("mnist_dp.py", "mnist_scatter_dp.py", "cancer_dp.py")
PRIVATE = [RECIPES / folder / name for folder in ("torch", "tensorflow") for name in NAMES]
FINETUNED = [  # private by a choice
    RECIPES / folder / name
    for folder in ("torch", "tensorflow")
    for name in ("finetune.py", "text_finetune.py")
]
PATIENCE = 600.0  # nine runs, whose framework is loaded once
STEPS = 2
DRAWS = {"noisy_mean", "randn", "randn_like", "random_normal"}
DRAWS |= {"normal", "normal_", "standard_normal", "stateless_normal", "truncated_normal"}
LOOP = Path(loop.__file__).read_text()
DRAW = re.compile(r"^ +gradients = dp_\w+\.noisy_mean\(.*\n", re.MULTILINE)


def drawn_twice(source: str) -> str:
    """A recipe that draws a step's noise twice."""
    return DRAW.sub(lambda line: line[0] * 2, source)


def paid_after(source: str) -> str:
    """A loop that pays for a step once it was taken."""
    paying = re.search(r"        if not run\.spend\(\).*?over_budget\(\)\n", source, re.DOTALL)
    assert paying
    taken = "        yield step\n"
    return source.replace(paying[0], "").replace(taken, taken + paying[0])


def unpaid(order: list[str]) -> list[int]:
    """Which draws of noise, from the first on, are no release of a step that is paid for.

    Each has a step of its own, paid for since the last draw, and the ledger's disk has as many.
    """
    wrong, drawn, paid = [], 0, False
    for entry in order:
        if entry == "paid":
            paid = True
            continue
        drawn += 1
        if not paid or int(entry.split()[1]) < drawn:
            wrong.append(drawn)
        paid = False
    return wrong


def test_the_order_tells_what_is_unpaid() -> None:
    assert unpaid(["paid", "noise 1", "paid", "noise 9", "paid", "noise 9"]) == []
    assert unpaid(["noise 0", "paid", "noise 1"]) == [1, 2]
    assert unpaid(["paid", "noise 9", "noise 9"]) == [2]
    assert unpaid(["paid", "noise 1", "paid", "noise 1"]) == [2]


@pytest.fixture(scope="module", params=["torch", "tensorflow"])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], dict[str, Any]]:
    """A framework's recipes as they stand and in copies in which the order is broken."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"no {request.param}")
    folder = tmp_path_factory.mktemp("paid")
    images = write(folder / "data")
    for name in ("mnist", "cancer"):
        made(folder / "home" / "ledger", name, epsilon=1e4, rho_budget=1e3)
    flags = {
        "mnist_dp.py": ("--batch-size=64", f"--epochs={(STEPS + 0.5) * 64 / 60000}"),
        "mnist_scatter_dp.py": (f"--epochs={(STEPS + 0.5) * 4096 / 60000}",),
        "cancer_dp.py": (f"--steps={STEPS}",),
    }
    jobs = {}
    for name in NAMES:
        own = RECIPES / request.param / name
        twice = folder / name
        twice.write_text(drawn_twice(own.read_text()))
        for kind, path, source in (
            ("as it stands", own, ""),
            ("drawn twice", twice, ""),
            ("paid after", own, paid_after(LOOP)),
        ):
            data = () if name == "cancer_dp.py" else (f"--data-dir={images}",)
            where = f"--run-folder={folder / f'run-{len(jobs)}'}"
            argv = [str(path), where, "--no-self-test", *data, *flags[name]]
            jobs[name, kind] = {"path": str(path), "argv": argv, "loop": source}
    outside = {k: v for k, v in os.environ.items() if not k.startswith("TRAINDECK_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.recipes.paid_order"],
        input=json.dumps(list(jobs.values())),
        env=outside | {"TRAINDECK_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(jobs, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.framework
@pytest.mark.parametrize("name", NAMES)
class TestAsItRuns:
    def test_each_draw_has_a_step_that_the_ledger_has_on_its_disk(
        self, runs: dict[tuple[str, str], dict[str, Any]], name: str
    ) -> None:
        ran = runs[name, "as it stands"]
        assert ran["code"] == 0
        assert len(ran["order"]) == 2 * STEPS
        assert unpaid(ran["order"]) == []

    def test_a_copy_that_breaks_the_order_is_seen(
        self, runs: dict[tuple[str, str], dict[str, Any]], name: str
    ) -> None:
        assert unpaid(runs[name, "drawn twice"]["order"]) == [2, 3, 4]
        assert unpaid(runs[name, "paid after"]["order"])[0] == 1


def strays(source: str) -> list[str]:
    """What in a recipe draws noise, or could, otherwise than once in each step that is paid for."""
    tree = ast.parse(source)
    sound: set[ast.AST] = set()
    for loop_of_steps in ast.walk(tree):
        if isinstance(loop_of_steps, ast.For) and is_call(loop_of_steps.iter, "private_steps"):
            drawing = [each for each in loop_of_steps.body if draws_for_its_step(each)]
            sound |= {each.value.func for each in drawing[:1]}
    return [ast.unparse(node) for node in ast.walk(tree) if node not in sound and may_draw(node)]


def may_draw(node: ast.AST) -> bool:
    """Whether it names what draws noise, called or not, or makes a loop of steps of its own."""
    if isinstance(node, ast.FunctionDef):
        return node.name == "private_steps"
    if isinstance(node, ast.ImportFrom):
        names = {each.name: each.asname or each.name for each in node.names}
        elsewhere = node.module != loop.__name__ and "private_steps" in names.values()
        return elsewhere or bool(DRAWS & names.keys())
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in DRAWS


class Drawing(ast.Assign):
    value: ast.Call


def is_call(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name


def draws_for_its_step(statement: ast.stmt) -> TypeGuard[Drawing]:
    """`… = noisy_mean(…, step.noise, …, step.randomness)`, as a statement of the loop itself."""
    if not isinstance(statement, ast.Assign) or not is_call(statement.value, "noisy_mean"):
        return False
    given = [ast.unparse(each) for each in statement.value.args]
    return given[1::2] == ["step.noise", "step.randomness"]


def recipes() -> Iterator[Path]:
    yield from sorted(path for path in RECIPES.glob("*/*.py") if path.parent.name != "shared")


def test_the_private_recipes_are_known() -> None:
    read = [(path, recipe) for path in recipes() if (recipe := read_recipe(path))]
    declared = [path for path, recipe in read if recipe.accounting]
    assert sorted(declared) == sorted(PRIVATE)
    chosen = [
        path
        for path, recipe in read
        if recipe.framework != "syft" and recipe.chosen({"dp": "example"}).accounting
    ]
    assert sorted(set(chosen) - set(declared)) == sorted(FINETUNED)


def test_no_recipe_draws_noise_outside_the_steps_that_are_paid_for() -> None:
    for path in recipes():
        assert strays(path.read_text()) == [], path
    for path in PRIVATE + FINETUNED:
        assert len(DRAW.findall(path.read_text())) == 1


def before_the_loop(source: str) -> str:
    line = DRAW.search(source)
    assert line
    begins = re.search(r"^    for step in private_steps", source, re.MULTILINE)
    assert begins
    moved = source.replace(line[0], "")
    return moved[: begins.start()] + line[0][4:] + moved[begins.start() :]


@pytest.mark.parametrize(
    "path", PRIVATE + FINETUNED, ids=lambda path: f"{path.parent.name}/{path.name}"
)
@pytest.mark.parametrize(
    "broken",
    [
        drawn_twice,
        before_the_loop,
        lambda source: source.replace("step.noise", "plan.clipping_norm"),
        lambda source: DRAW.sub(lambda line: line[0].replace("step.r", "r"), source),
        lambda source: source.replace("in private_steps(", "in other_steps("),
        lambda source: DRAW.sub(lambda line: line[0] + line[0].replace("gradients = ", ""), source),
        lambda source: source.replace("def main(", "draw = dp.noisy_mean\n\n\ndef main("),
        lambda source: source.replace(
            "        step.gave(", "        sums[0].normal_(0, 1)\n        step.gave("
        ),
        lambda source: source.replace(
            "def main(", "def private_steps(*_):\n    yield\n\n\ndef main("
        ),
    ],
    ids=[
        *("twice", "before the loop", "of another scale", "from elsewhere", "in another loop"),
        "without a name",
        *("by another name", "by a tensor", "in a loop of its own"),
    ],
)
def test_a_copy_that_draws_elsewhere_is_seen(path: Path, broken: Any) -> None:
    assert strays(broken(path.read_text()))
