"""What a recipe says about itself while it trains. Standard library only.

    from traindeck.core import track

    with track.start() as run:
        for step in range(run.params.steps):
            ...
            run.log(step, {"train/loss": loss})
            run.progress(step + 1, run.params.steps)
            if run.should_stop():
                break

Launched by traindeck, what is logged goes to the run's folder. By hand it is printed, at most once
a second, and written to a folder as well if `--run-folder` names one. Nothing here ever stops or
slows training: when the folder cannot be written, one warning is printed and training goes on.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from traindeck.core.base.environ import DEVICE, RUN_FOLDER
from traindeck.core.base.errors import (
    FAILED,
    INTERRUPTED,
    MISSING,
    OVER_BUDGET,
    USAGE,
    BudgetRefused,
    TraindeckError,
)
from traindeck.core.base.files import write_json
from traindeck.core.base.format import compact, on_one_line
from traindeck.core.base.home import Home
from traindeck.core.recipe.flags import parse
from traindeck.core.recipe.header import HeaderError
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run import events, ranks
from traindeck.core.run.artifacts import sums
from traindeck.core.run.asked import Asked
from traindeck.core.run.flusher import Flusher
from traindeck.core.run.fractions import Fractions
from traindeck.core.run.points import PROGRESS
from traindeck.core.run.ranks import Rank
from traindeck.core.run.showing import Showing

if TYPE_CHECKING:
    from traindeck.core.models.bundle import Tensor
    from traindeck.core.privacy.mechanism import Mechanism
    from traindeck.core.privacy.origin import Charged
    from traindeck.core.privacy.plan import Plan
    from traindeck.core.privacy.spending import Spending

PROGRESS_SECONDS = 0.1
PRINT_SECONDS = 1.0


def start(argv: Sequence[str] | None = None, script: str | Path | None = None) -> Run:
    """Begin a run of the calling script.

    The script's header makes its flags; they are parsed from `argv` (default: the command line).
    A wrong flag or value ends the process with exit code 2, `--help` with 0.
    """
    kept = getattr(sys.modules.get("__main__"), "__kept__", "")  # it was changed since its launch
    path = Path(script or kept or sys.argv[0])
    try:
        recipe = read_recipe(path) if path.is_file() else None
    except HeaderError as error:
        abort(str(error), USAGE)
    managed = os.environ.get(RUN_FOLDER)
    device, folder, params = os.environ.get(DEVICE, "cpu"), managed, {}
    given = None
    if recipe:  # a script without a header keeps its command line to itself
        recipe, given = parse(recipe, argv)
        device, folder = given.device, managed or given.run_folder
        params = {name: getattr(given, name) for name in recipe.params}
    rank = ranks.own() if recipe else None
    run = Run(params, device, folder, managed is not None, path.stem, rank)
    if recipe:
        run._private = recipe.privacy != "none"
        _begin(run, recipe, getattr(given, "accept_no_privacy", False))
    atexit.register(run.close)  # a recipe without `with` keeps its last points too
    return run


def abort(message: str, code: int = MISSING) -> NoReturn:
    """End the process with one line on stderr: by default, something needed is missing (4)."""
    print(f"error: {on_one_line(message)}", file=sys.stderr, flush=True)
    raise SystemExit(code)


class Run(Showing):
    """A run as its own recipe sees it; made by `start`."""

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        device: str = "cpu",
        folder: str | Path | None = None,
        managed: bool = False,
        name: str = "run",
        rank: Rank | None = None,
    ) -> None:
        self.params = SimpleNamespace(**(params or {}))
        self.device = device
        self.rank = rank  # which process of several it is: only the first records anything
        if rank is not None and rank.number:
            folder, managed = None, True
        self.folder = Path(folder) if folder else None
        self.id = f"hand-{os.getpid()}-{time.time_ns():x}"
        """What ledgers know the run by."""
        self._name = name
        self._started = time.time()
        self._managed = managed
        self._artifacts: Path | None = None
        self._warned = False
        self.code: object = None  # what the process is to exit with, once the run's block was left
        self._points: Flusher | None = None
        self._process = os.getpid()
        self._progress_at = self._printed_at = 0.0
        self._parts = 1  # of a unit of progress
        self._asked = Asked(rank)
        self._fractions = Fractions()
        self._plan: Plan | None = None
        self._spending: Spending | None = None
        self._use: Callable[[str], None] | None = None
        self._state = "finished"
        self._contents = ""
        if self.folder is not None:
            self._guard(self._open, self.folder)

    @property
    def artifacts(self) -> Path:
        """The folder for what the run makes (checkpoints, exports); made when first asked for."""
        if self._artifacts is None:
            stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._started))
            by_hand = Path("artifacts") / f"{self._name}-{stamp}"
            self._artifacts = self.folder / "artifacts" if self.folder else by_hand
            self._guard(lambda: self.artifacts.mkdir(parents=True, exist_ok=True))
            if not self._managed:
                print(f"checkpoints go to {self._artifacts}", flush=True)
        return self._artifacts

    def log(self, step: float, values: Mapping[str, float] | None = None, **more: float) -> None:
        """Record the value of each series at a step: `run.log(10, {"train/loss": 0.3})`.

        Values are anything that float() takes. A step lower than before in a series replaces what
        lay beyond it. Fractional steps are counted, and kept as a series `step` (`Fractions`).
        """
        values = {**values, **more} if values and more else values or more
        if self._points is not None:
            try:
                self._points.add(*self._fractions.whole(step, values))
            except Exception as error:
                self._warn(error)
        if not self._managed:
            self._print(step, values)

    def progress(self, done: float, total: float) -> None:
        """Say how far the run is, in any unit: steps, epochs or rounds, or parts of them."""
        now = time.monotonic()
        if done < total and now - self._progress_at < PROGRESS_SECONDS:
            return
        self._progress_at = now
        if self._points is not None:
            self._parts = 1000 if done % 1 > 0 or total % 1 > 0 else self._parts
            done, total = round(float(done) * self._parts), total * self._parts
            self._guard(self._points.add, done, {PROGRESS: float(total)})
            self._points.wake()

    def should_stop(self) -> bool:
        """True once a stop was asked for (SIGTERM, or Ctrl-C by hand).

        The recipe then leaves its loop, saves a checkpoint, evaluates and returns. From the first
        call on, the first of these signals no longer ends the process; a second one does.
        """
        return self._asked.to_stop()

    def artifact(self, path: str | Path, kind: str, **more: Any) -> None:
        """Record a file that the run made; kind is a word such as `checkpoint` or `model`."""
        self._event("artifact", path=str(Path(path).absolute()), kind=kind, **more)

    def servable(
        self,
        model: str | Path | Callable[[Path], object],
        inputs: Mapping[str, Tensor] | None = None,
        outputs: Mapping[str, Tensor] | None = None,
        code: str = "",
    ) -> None:
        """Leave the trained model for `traindeck export`: raw measures in, named outputs out.

        model    a SavedModel's folder, or a file .pt2, .onnx, .tflite, .keras that is there; or
                 what writes one into the folder it is given, as `saved_model.pb`, `model.pt2` …
        inputs   what it takes, and outputs what it gives, by name; else the file's own word counts
        code     of a file .safetensors: `net.py:Net`, the function or class that builds the PyTorch
                 module when it is called; the file stands for itself, and is run to export it

        It stands in `servable/` of the artifacts once it is whole, in place of an earlier one.
        """
        from traindeck.core.models import servable
        from traindeck.core.privacy.ledger.ledgers import keyed

        try:
            place = servable.leave(self.artifacts, model, inputs, outputs, code)
            event = {"path": str(place.absolute()), "kind": "servable", "sha256": sums(place)}
            if self._contents:
                event["data"] = keyed(self.ledgers, self._contents)
            self._event("artifact", **event)
        except Exception as error:
            print(f"warning: no servable: {' '.join(str(error).split())}", flush=True)

    def note(self, text: str) -> None:
        """Record a sentence for whoever looks at the run later."""
        self._event("note", text=text)

    @property
    def plan(self) -> Plan:
        """What a private run is to release; only for recipes whose header has an accounting."""
        if self._plan is None:
            raise RuntimeError("this recipe's header has no [tool.traindeck.accounting]")
        return self._plan

    @property
    def ledgers(self) -> Path:
        """The folder of the home's privacy ledgers."""
        home = self.folder.parent.parent if self._managed and self.folder else Home.default().root
        return home / "ledger"

    def use(self, fingerprint: str) -> None:
        """Tell whose privacy is spent: sha256, in hexadecimal, of the training data's contents.

        Ends the process with exit code 5 when the data set's budget is another data set's, or a
        recipe without privacy uses budgeted data, under whatever name.
        """
        self._contents = fingerprint
        use = self._spending.use if self._spending is not None else self._use
        if use is not None:
            try:
                use(fingerprint)
            except BudgetRefused as error:
                self._refuse(str(error))
            except (OSError, TraindeckError) as error:
                self._refuse(f"the ledger cannot be written: {error}", FAILED)

    def resumed(self, steps: int, checkpoint: Path | None = None) -> Charged:
        """Say that the model already holds so many private steps of earlier runs.

        What the checkpoint's origin does not show to be paid for, this run pays with its first
        step. Returns the runs that the origin names, with their steps.
        """
        return self._spending.resumed(steps, checkpoint) if self._spending is not None else ()

    def seal(self, checkpoint: Path) -> None:
        """Say beside a private run's checkpoint where it comes from (`privacy.origin`)."""
        if self._spending is not None:
            self._guard(self._spending.seal, checkpoint)

    def spend(self) -> bool:
        """Pay for the next private step, before its noise is released.

        False when the privacy budget does not admit it: the step must not be taken. The recipe
        then saves a checkpoint and calls `over_budget`.
        """
        return self._spending is not None and self._spending.step()

    @property
    def problem(self) -> str:
        """Why the next private step cannot be paid for; empty as long as nothing was refused."""
        return self._spending.problem if self._spending is not None else ""

    def over_budget(self, why: str = "") -> NoReturn:
        """End the process: a privacy budget does not admit the next step (exit code 5).

        With exit code 1 where the step could not be paid for since the ledger cannot be used.

        why  of a budget that is not this run's own to spend, such as a data owner's
        """
        broken = not why and self._spending is not None and not self._spending.refused
        self._refuse(why or self.problem, FAILED if broken else OVER_BUDGET)

    def round(self, number: int, **facts: Any) -> None:
        """Record a finished federated round."""
        self._event("round", number=number, **facts)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, SystemExit | KeyboardInterrupt):
            self._event("error", text=f"{type(error).__name__}: {error}")
        if error is not None:
            if self._state != "over_budget":
                self._state = "failed"
        elif self._asked.signal is not None:
            self._state = "stopped"
        self.code = 0 if error is None else getattr(error, "code", None)
        self.close()
        if error is None and self._asked.signal == signal.SIGINT and not self._managed:
            self.code = INTERRUPTED
            raise SystemExit(INTERRUPTED)

    def hand_over(self) -> None:
        """Leave recording and spending to ranks: what is reserved is theirs from now on."""
        self._spending = self._use = None
        self.close()

    def close(self) -> None:
        """Write what is still buffered and stop writing."""
        if self._spending is not None and os.getpid() == self._process:
            self._guard(self._spending.close, self._state)
        if self._points is not None:
            points, self._points = self._points, None
            self._guard(points.close)

    def _open(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not self._managed:
            (folder / "params.json").write_text(json.dumps(vars(self.params), indent=2) + "\n")
        self._points = Flusher(folder, self._warn)

    def _refuse(self, problem: str, code: int = OVER_BUDGET) -> NoReturn:
        refused = code == OVER_BUDGET
        self._event("error", text=problem, **({"over_budget": True} if refused else {}))
        self._state = "over_budget" if refused else "failed"
        abort(problem, code)

    def _spent(self, released: Mechanism, epsilon: float) -> None:
        """Hear what has been committed so far and what that costs."""
        delta = self.plan.delta
        facts: dict[str, Any] = {"event": released.to_json(), "epsilon": epsilon, "delta": delta}
        if self._spending is not None and self._spending.inherited:
            facts["inherited"] = self._spending.inherited
        self._event("spend", **facts)
        if math.isfinite(epsilon):
            self.log(released.steps, {"epsilon": epsilon})

    def _event(self, type: str, **fields: Any) -> None:
        if self.folder is not None:
            self._guard(events.append, self.folder / "events.jsonl", type, **fields)

    def _guard(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            action(*args, **kwargs)
        except Exception as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            what = f"cannot record to {self.folder or self._artifacts}: {error}; training goes on"
            print(on_one_line(f"traindeck: {what}"), file=sys.stderr, flush=True)

    def _print(self, step: float, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self._printed_at < PRINT_SECONDS:
            return
        self._printed_at = now
        try:
            shown = "  ".join(f"{name} {compact(float(value))}" for name, value in values.items())
            print(f"step {step}  {shown}", flush=True)
        except Exception as error:
            self._warn(error)


def _begin(run: Run, recipe: Recipe, accept: bool) -> None:
    """Reserve what a recipe may spend, or take up what was reserved when it was launched."""
    from traindeck.core.privacy.beginning import begin

    managed = Path(os.environ[RUN_FOLDER]) if RUN_FOLDER in os.environ else None
    try:
        begun = begin(
            recipe,
            vars(run.params),
            run.ledgers,
            run.id,
            run._spent,
            managed=managed,
            accept=accept,
            rank=run.rank,
        )
        if begun.plan is not None and managed is None and run.folder is not None:
            write_json(run.folder / "privacy.json", begun.plan.to_json())
    except BudgetRefused as error:
        run._refuse(str(error))
    except TraindeckError as error:
        abort(str(error), error.exit_code)
    except OSError as error:
        abort(f"the privacy ledger of {recipe.dataset} cannot be written: {error}", FAILED)
    run.id, run._plan, run._spending, run._use = begun
