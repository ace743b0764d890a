"""What each format of each kind of model loses, weighs and takes: the table in
recipes/shared/deploy/README.md.

    python tests/bench/bench_export.py [--recipes tf-mnist,torch-mnist] [--home DIR]

Trains briefly, exports in all formats that can be made here, and prints a row a format, with the
table's columns. Formats of environments of their own are tried where $TRAINDECK_LITERT and
$TRAINDECK_EXECUTORCH name them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = Path(sys.executable).parent / "traindeck"
BRIEFLY = {
    "tf-mnist": ["epochs=1"],
    "torch-mnist": ["epochs=1"],
    "torch-digits": [],
    "syft-fedavg": ["dataset=digits", "rounds=10"],
    "tf-cancer-dp": [],
    "tf-mnist-scatter-dp": ["epochs=1"],
    "torch-mnist-scatter-dp": ["epochs=1"],
}
TENSORFLOW = ["--to", "saved_model,litert,onnx", "--quantize", "dynamic,f16,int8"]


def words(recipe: str) -> list[str]:
    if recipe.startswith("tf-"):
        return TENSORFLOW
    to = ["pt2", "onnx"]
    to += ["litert"] * ("TRAINDECK_LITERT" in os.environ)
    to += ["executorch"] * ("TRAINDECK_EXECUTORCH" in os.environ)
    return ["--to", ",".join(to)]


def run(home: str, *command: str) -> str:
    environment = {**os.environ, "TRAINDECK_HOME": home}
    done = subprocess.run([COMMAND, *command], capture_output=True, text=True, env=environment)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--recipes", default=",".join(BRIEFLY))
    options.add_argument("--home")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = given.home or folder
        print("| run | format | largest error | same decision | bytes | ms, 1 record |")
        print("| --- | --- | --- | --- | --- | --- |")
        for recipe in given.recipes.split(","):
            params = [word for pair in BRIEFLY[recipe] for word in ("-p", pair)]
            trained = json.loads(run(home, "run", recipe, *params, "--wait", "--json"))
            made = json.loads(run(home, "export", trained["id"], "--json", *words(recipe)))
            for name, form in made["bundle"]["formats"].items():
                parity, latency = form["parity"], form["latency"]
                print(
                    f"| {recipe} | {name} | {parity['largest_error']:.1e}"
                    f" | {parity['agreement']:.2%} | {form['bytes']:,}"
                    f" | {latency['1']['p50']:.3g} |",
                    flush=True,
                )
            for name, why in made["bundle"].get("refused", {}).items():
                print(f"| {recipe} | {name} | refused: {why} | | | |", flush=True)


if __name__ == "__main__":
    main()
