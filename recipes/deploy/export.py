# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "onnx>=1.20", "onnxruntime>=1.23", "onnxscript>=0.5",
#   "tf2onnx>=1.16", "ai-edge-litert>=2.1", "traindeck"]
# [tool.traindeck]
# name = "export"
# title = "Export a run's model"
# description = "Makes a checked bundle of a finished run: `traindeck export` starts it."
# framework = "other"
# task = "deployment"
# tags = ["deploy"]
# [tool.traindeck.params]
# run = {type = "path", help = "the folder of the run"}
# name = {type = "str", default = "", help = "of the model; else the run's"}
# to = {type = "str", default = "", help = "saved_model, litert, onnx, pt2, executorch"}
# quantize = {type = "str", default = "", help = "dynamic, int8, f16"}
# micro = {type = "bool", default = false, help = "for microcontrollers: int8 in, int8 out"}
# calibrate = {type = "str", default = "test", help = """\
#   what int8 takes its scales from: test (and is proven by the others), training (never a
#   private run's), or an .npz"""}
# test = {type = "path", help = "an .npz of test records, of data that is not built in"}
# file = {type = "str", default = "", help = "a model that the run wrote, taken instead"}
# force = {type = "bool", default = false, help = "keep formats that fail, marked"}
# ///
"""Make a bundle of a run: its servable in several formats, each proven over all test records.

The bundle is built as `.<n>.part` beside the model's other versions and appears under its number
when it is whole. A format that does not answer as the run's own model is refused, unless it is
forced, and then marked.
"""

import os
import shutil
import tempfile
from pathlib import Path

from traindeck.core import track
from traindeck.core.base.errors import FAILED, TraindeckError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.models import aside
from traindeck.core.models.shelf import Shelf
from traindeck.core.run.artifacts import sums


def main(run: track.Run) -> None:
    from traindeck.recipes.shared.deploy import bundling, source
    from traindeck.recipes.shared.deploy.formats import aside_for, check_runtimes, wanted

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    p = run.params
    if not p.run:
        raise UsageError("--run: the folder of a run; `traindeck export RUN` fills it in")
    origin = source.read(Path(p.run), p.file)
    names = wanted(origin.servable.kind, p.to, p.quantize, p.micro)
    check_runtimes(origin.servable.kind, names)
    records, calibration = bundling.data(origin, names, p.test, p.calibrate)
    home = Home(run.ledgers.parent)
    for needed in aside_for(origin.servable.kind, names):
        aside.python(home, needed)
    run.should_stop()  # from here on a stop leaves nothing half made
    number, part = Shelf(home).begin(p.name or origin.doc["name"])
    try:
        with tempfile.TemporaryDirectory(prefix="traindeck-export-") as scratch:
            maker = bundling.Maker(
                *(origin, records, calibration, part, Path(scratch)),
                force=p.force,
                home=home,
                stopping=run.should_stop,
            )
            maker.ask_reference()
            for done, name in enumerate(names, 1):
                print(f"{name} ...", flush=True)
                print(f"  {maker.make(name)}", flush=True)
                run.log(done, maker.figures(name))
                run.progress(done, len(names))
                if run.should_stop():
                    print("stopped on request: nothing is kept", flush=True)
                    return
            maker.write(p.name or origin.doc["name"], number, run.folder.name if run.folder else "")
        place = Shelf(home).finish(part)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    run.artifact(place, "bundle", sha256=sums(place))
    print(f"{place.parent.name}/{number}: {place}", flush=True)
    if maker.refused:
        left_out = "; ".join(f"{name} {why}" for name, why in maker.refused.items())
        hint = ". --force keeps what fails the comparison, marked" if maker.forcible else ""
        raise TraindeckError(f"left out: {left_out}{hint}")


if __name__ == "__main__":
    with track.start() as run:
        try:
            main(run)
        except TraindeckError as error:
            if not run.should_stop():
                track.abort(str(error), error.exit_code or FAILED)
            print("stopped on request: nothing is kept", flush=True)
