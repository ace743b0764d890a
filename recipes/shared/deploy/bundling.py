"""Making a bundle: each format is written, run over all test records, judged, and described."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import MissingError, TraindeckError, UsageError
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.models import aside
from traindeck.core.models.bundle import BUNDLE, SIGNATURE, Bundle, Format, Signature, Tensor
from traindeck.core.run.artifacts import sums
from traindeck.recipes.shared.deploy import calibration as calibrating
from traindeck.recipes.shared.deploy import papers, parity, records
from traindeck.recipes.shared.deploy.calibration import Calibration
from traindeck.recipes.shared.deploy.formats import (
    CALIBRATED,
    FORMATS,
    base,
    elsewhere,
    litert,
    onnx,
    pt2,
)
from traindeck.recipes.shared.deploy.formats import saved_model as saved
from traindeck.recipes.shared.deploy.records import Records
from traindeck.recipes.shared.deploy.source import Source
from traindeck.recipes.shared.training import needs

NEAR = 0.01  # how far the model's accuracy may be from the run's own before that is said


def data(
    source: Source, names: Sequence[str], test: str | None, calibrate: str
) -> tuple[Records, Calibration | None]:
    """The test records, and what int8 is calibrated with where a format needs it.

    Raises UsageError where there are none, or the calibration may not be. Ends the recipe (4) where
    a built-in data set is not here.
    """
    both = needs.data(records.of_dataset, source.dataset, source.data_dir)
    training, own = both or (None, None)
    given = records.of_file(Path(test).expanduser()) if test else own
    if given is None:
        known = f"{source.dataset!r} is not built in" if source.dataset else "its data has no name"
        raise UsageError(
            f"no test records to prove the formats by: {known}. --test FILE.npz gives them:"
            " an array for each input of the model, and `labels` if they are known"
        )
    if not set(names) & set(CALIBRATED):
        return given, None
    if calibrate == "test":
        chosen = given
    elif calibrate == "training":
        if source.private:
            raise UsageError(
                "--calibrate training: the run is private. Scales are extremes of single records,"
                " and no epsilon covers that: calibrate with test data (the default) or a file of"
                " public records"
            )
        if training is None:
            raise UsageError("--calibrate training: the data is not built in: give an .npz")
        chosen = training
    else:
        chosen = records.of_file(Path(calibrate).expanduser())
    return given, calibrating.choose(chosen, training, source.private, given)


class Maker:
    """Makes one bundle in the folder `part`.

    scratch  a folder for what is not kept
    force    whether formats that fail are kept, marked
    home     whose other environments are used
    stopping  is asked whether to stop, while formats run
    """

    def __init__(
        self,
        source: Source,
        given: Records,
        calibration: Calibration | None,
        part: Path,
        scratch: Path,
        force: bool,
        home: Home,
        stopping: Callable[[], bool],
    ) -> None:
        self.refused: dict[str, str] = {}
        self.forcible = False  # whether any of them could have been kept
        self._formats: dict[str, Format] = {}
        self._source, self._records, self._calibration = source, given, calibration
        self._part, self._scratch, self._force = part, scratch, force
        self._home, self._stopping = home, stopping
        self._written = scratch / "records"
        self._written.mkdir()
        given.write(self._written)

    def ask_reference(self) -> None:
        """Ask the run's own model about all records: what formats are held against.

        Raises TraindeckError when it does not run.
        """
        of = self._source.servable
        print(f"asking the run's model about {len(self._records)} records ...", flush=True)
        self._asked = self._attempt(of.kind, of.model)
        self._reference = self._asked.outputs
        facts = parity.compare(self._reference, self._reference, self._records.labels)
        own, now = self._source.run.get("accuracy"), facts.get("accuracy")
        if now is not None:
            print(f"{now:.2%} of them right", flush=True)
        if own is not None and now is not None and abs(own - now) > NEAR:
            print(f"warning: the run itself said {own:.2%}: were these its test records?")

    def make(self, name: str) -> str:
        """Write a format and judge it; says in a line how it fared. It is left out if it fails."""
        form = FORMATS[name]
        target = self._part / form.path
        try:
            self._write(name, target)
            if name == self._source.servable.kind:  # a copy, by its hash: it has been asked
                tried = self._asked
            else:
                tried = self._attempt(form.runtime, target, self._python(name))
            facts = self._compared(name, tried)
        except parity.Untried as error:
            return self._refuse(name, str(error))
        except (UsageError, MissingError):
            raise
        except Exception as error:  # converters raise whatever they like
            said = " ".join(str(error).split()).rstrip(".")
            return self._refuse(name, f"cannot be made: {type(error).__name__}: {said[-300:]}")
        problem = parity.problem(facts, form.exact)
        if problem and not self._force:
            self.forcible = True
            return self._refuse(name, problem)
        if problem:
            facts |= {"forced": True, "problem": problem}
        files = sums(target) if target.is_file() else sums(self._part)
        size = sum((target if target.is_file() else self._part / f).stat().st_size for f in files)
        made: Format = {"path": form.path, "parity": facts, "latency": tried.latency, "bytes": size}
        if self._calibration and name in CALIBRATED:
            made["calibration"] = self._calibration.to_json()
        if tried.facts:
            made["micro"] = tried.facts
        self._formats[name] = made
        right = f", {facts['accuracy']:.2%} right" if "accuracy" in facts else ""
        return (
            f"largest error {facts['largest_error']:.1e}, same decision"
            f" {facts['agreement']:.2%}{right}; {size:,} bytes,"
            f" {tried.latency['1']['p50']:.3g} ms{_needs(tried.facts)}"
            + (f"  FORCED: it {problem}" if problem else "")
        )

    def _compared(self, name: str, tried: parity.Tried) -> dict[str, Any]:
        """Over all test records, but for those that the format was calibrated with."""
        labels = self._records.labels
        if not self._calibration or name not in CALIBRATED:
            return parity.compare(self._reference, tried.outputs, labels)
        others = self._calibration.others

        def over(outputs: Mapping[str, Any]) -> dict[str, Any]:
            whole = len(others)
            return {n: a[others] if len(a) == whole else a for n, a in outputs.items()}

        return parity.compare(
            over(self._reference), over(tried.outputs), None if labels is None else labels[others]
        )

    def figures(self, name: str) -> dict[str, float]:
        """What curves show of a format; nothing of one that is left out."""
        made = self._formats.get(name)
        if made is None:
            return {}
        facts, latency = made["parity"], made["latency"]
        return {
            f"{name}/agreement": facts["agreement"],
            f"{name}/largest_error": facts["largest_error"],
            f"{name}/ms": latency["1"]["p50"],
        }

    def write(self, name: str, version: int, by: str) -> None:
        """Write all that describes the bundle; `by` is the run that makes it.

        Raises TraindeckError when no format is left.
        """
        if not self._formats:
            why = "; ".join(f"{form} {why}" for form, why in self.refused.items())
            raise TraindeckError(f"no format is left, and nothing is kept: {why}")
        part, signature = self._part, self._signature()
        bundle: Bundle = {
            "format": 1,
            "name": name,
            "version": version,
            "created": time.time(),
            "exported_by": by,
            "formats": self._formats,
            "files": sums(part),
            "run": self._source.run,
            "privacy": self._source.privacy,
            "signature": signature,
            "records": f"{len(self._records)} of {self._records.source}",
        }
        if self.refused:
            bundle["refused"] = self.refused
        write_json(part / SIGNATURE, signature)
        papers.write_card(part, bundle, signature)
        papers.write_bill(part, bundle, signature)
        if not papers.write_mlmodel(part, bundle, signature):
            print("no MLmodel: MLflow opens the ONNX format, which is not among them", flush=True)
        bundle["files"] = sums(part)
        write_json(part / BUNDLE, bundle)
        papers.write_sums(part)

    def _attempt(self, runtime: str, model: Path, python: str = sys.executable) -> parity.Tried:
        return parity.attempt(runtime, model, self._written, python, self._stopping)

    def _python(self, name: str) -> str:
        """Whose runtime runs a format: this interpreter, or another environment's."""
        return aside.python(self._home, name) if name in aside.RUN_THERE else sys.executable

    def _write(self, name: str, target: Path) -> None:
        kind, model = base(self._source.servable.kind), self._base()
        family, _, how = name.partition("-")
        used = self._calibration if name in CALIBRATED else None
        if kind == "pt2" and family in aside.PACKAGES:
            python, signature = aside.python(self._home, family), self._signature()
            if family == "executorch":
                elsewhere.executorch(python, model, target, signature)
            else:
                elsewhere.litert(python, model, target, signature, how, used)
        elif family == "litert":
            litert.make(kind, model, target, how, used)
        elif family == "onnx":
            onnx.make(kind, model, target)
        elif family == "saved_model":
            saved.copy(model, target)
        else:
            shutil.copyfile(model, target)

    def _base(self) -> Path:
        """What formats are made of: a .keras is a SavedModel first, weights and code a .pt2."""
        of = self._source.servable
        if base(of.kind) == of.kind:
            return of.model
        place = self._scratch / f"base.{base(of.kind)}"
        if not place.exists():
            if of.kind == "keras":
                saved.of_keras(of.model, place)
            else:
                pt2.of_code(of.model, place, self._signature())
        return place

    def _refuse(self, name: str, why: str) -> str:
        path = FORMATS[name].path
        if path:
            (self._part / path).unlink(missing_ok=True)
        else:
            shutil.rmtree(self._part)
            self._part.mkdir(mode=0o700)
        self.refused[name] = why
        return f"refused: it {why}"

    def _signature(self) -> Signature:
        said = self._source.servable.signature
        if said is not None:
            return said
        return Signature(
            format=1,
            inputs={name: _like(array) for name, array in self._records.inputs.items()},
            outputs={name: _like(array) for name, array in self._reference.items()},
        )


def _needs(facts: dict[str, Any]) -> str:
    """What a microcontroller needs for a model, in words."""
    if not facts:
        return ""
    arena = f"; arena {facts['arena_bytes']:,} bytes" if "arena_bytes" in facts else ""
    return f"{arena}; operators {', '.join(facts['operators'])}"


def _like(array: Any) -> Tensor:
    return Tensor(dtype=str(array.dtype), shape=list(array.shape[1:]))
