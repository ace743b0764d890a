"""`traindeck serve` and `traindeck predict`: models behind an address, and asking them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.core.base.errors import FAILED, UsageError
from traindeck.tui.commands.output import AS_JSON, print_json, say

if TYPE_CHECKING:
    from traindeck.core.base.home import Home
    from traindeck.core.models.client import Client
    from traindeck.core.serving import Address

TOP = 3
SLACK = 1e-3  # by which float16's probabilities may miss 1

TOKEN = typer.Option(metavar="FILE", help="Its first line is the token.")


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)
    app.command("predict")(predict)


def serve(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models, runs or folders; AS=… serves by another name.", metavar="NAME|RUN|FOLDER"
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Of REST (8501); 0: any.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="(8500); 0: any, -1: none.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Beyond loopback, a token or mTLS is needed.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A model config of TensorFlow Serving, instead.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="onnx, saved_model, litert, pt2 …")
    ] = None,
    versions: Annotated[str | None, typer.Option(help="latest:2, all, stable, or 3,5.")] = None,
    batch: Annotated[int | None, typer.Option(help="Run up to so many records together.")] = None,
    token_file: Annotated[Path | None, TOKEN] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM: serve over TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM, of the certificate.")] = None,
    client_ca: Annotated[Path | None, typer.Option(help="PEM: mTLS.")] = None,
    restart: Annotated[int | None, typer.Option(help="Times that a crash is mended.")] = None,
    private: Annotated[
        str | None, typer.Option(help="ckks: linear models are also asked by ciphertexts.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="As of `recipes show serve`."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the run.")] = None,
    print_tf_serving: Annotated[
        bool, typer.Option("--print-tf-serving", help="The command for TensorFlow Serving.")
    ] = False,
    print_docker: Annotated[
        bool, typer.Option("--print-docker", help="The commands for images of other servers.")
    ] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Serve models: a run that goes on when the terminal is closed, until `traindeck stop`.

    Comes back once they are ready; with exit code 1 while one is not, and the server goes on. REST
    and gRPC, by TensorFlow Serving's and KServe's words.
    """
    from traindeck.core.base.home import Home
    from traindeck.core.launch import going_on, launch
    from traindeck.core.serving import awaited, targets
    from traindeck.tui.commands.run import check_needs, params
    from traindeck.tui.readers.deploying import serve_request

    home = Home.default()
    found = targets(home, what or [])
    if print_tf_serving or print_docker:
        _print_elsewhere(found, port or 8501, grpc_port or 8500, print_tf_serving)
        return
    if bool(found) == bool(config):
        raise UsageError("say what is to be served: models, or --config FILE, and not both")
    given = {
        "port": port,
        "grpc_port": grpc_port,
        "host": host,
        "config": _absolute(config),
        "format": format,
        "versions": versions,
        "batch": batch,
        "token_file": _absolute(token_file),
        "certificate": _absolute(certificate),
        "key": _absolute(key),
        "client_ca": _absolute(client_ca),
        "restart": restart,
        "private": private,
    }
    values = {name: value for name, value in given.items() if value is not None}
    request = serve_request(home, found, {**values, **params(param or [])}, name)
    check_needs(home, request)
    run = launch(home, request)
    with going_on(run["id"]):
        there = awaited(home.runs / run["id"])
    for model, why in there["problems"].items():
        say(f"warning: {model} is not served: {why}")
    if as_json:
        print_json({"id": run["id"], **there})
    else:
        _tell(run["id"], there)
    if not there["ready"]:
        raise typer.Exit(FAILED)


def _tell(run_id: str, there: Address) -> None:
    print(run_id)
    say(f"{'ready' if there['ready'] else 'not ready yet'}: {there['http']}" + _and_grpc(there))
    for model in there["models"]:
        say(f"  {there['http']}/v1/models/{model}:predict")
    if there["token_file"]:
        say(f"clients need the token in {there['token_file']}")
    say(f"`traindeck stop {run_id}` ends it; `traindeck predict NAME FILE` asks it")


def _and_grpc(there: Address) -> str:
    return f" and gRPC {there['grpc']}" if there["grpc"] else ""


def _absolute(path: Path | None) -> str | None:
    return str(path.expanduser().absolute()) if path else None


def _print_elsewhere(found: Any, port: int, grpc_port: int, tf_serving: bool) -> None:
    from traindeck.core.models import elsewhere

    if not found:
        raise UsageError("say what is to be served: models, runs or folders")
    make = elsewhere.tf_serving if tf_serving else elsewhere.docker
    print(make(found, port, grpc_port))
    say("printed, not run: these servers are not part of traindeck")


def _client(there: Address) -> Client:
    from traindeck.core.models.client import Client

    token = ""
    if there["token_file"]:
        token = _token(Path(there["token_file"]))
    return Client(there["http"].replace("//0.0.0.0:", "//127.0.0.1:"), token, there["ca"])


def _token(path: Path) -> str:
    try:
        return path.expanduser().read_text().split("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {path} cannot be read: {error}") from None


def predict(
    model: Annotated[str, typer.Argument(help="A model that is served.", metavar="NAME")],
    file: Annotated[
        str,
        typer.Argument(
            help="A picture, CSV (a row of numbers for each record: 64 for a picture of 8×8), JSON,"
            " .npy, .npz, or - for standard input."
        ),
    ],
    url: Annotated[
        str, typer.Option(help="Another server; else this home's is asked.", metavar="URL")
    ] = "",
    token_file: Annotated[Path | None, TOKEN] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM, of a server with TLS.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM, of this client (mTLS).")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM, of the certificate.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Send ciphertexts: the server sees no input.")
    ] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Ask a served model about a file: the label that it gives each record, and how likely it is.

    `label malignant, probability 97.3%; then benign 2.7%`. --json has all numbers.
    """
    from traindeck.core.base.home import Home
    from traindeck.core.models.inputs import arrays, read

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a server that hangs up is told, no end of ours
    client = _chosen(Home.default(), model, url, token_file, ca)
    if certificate:
        client.shows(certificate, key)
    inputs = client.inputs(model)
    signature = client.signature(model)
    data = read(file, sys.stdin.buffer)
    units = {name: str(one.get("unit", "")) for name, one in signature.get("inputs", {}).items()}
    given, said = arrays(data, file, inputs, _labels(signature, "inputs"), units)
    for words in said:
        say(words)
    outputs = _asked_privately(client, model, given) if private else client.infer(model, given)
    labels = _labels(signature, "outputs")
    if as_json:
        listed = {name: array.tolist() for name, array in outputs.items()}
        print_json({"model": model, "outputs": listed, "labels": labels})
        return
    _print(outputs, labels)


def _asked_privately(client: Client, model: str, given: dict[str, Any]) -> dict[str, Any]:
    from traindeck.core.models.private import ask

    if len(given) != 1:
        raise UsageError(f"{model} takes {', '.join(given)}: private inference takes one input")
    [array] = given.values()
    return ask(client, model, array)


def _chosen(home: Home, model: str, url: str, token_file: Path | None, ca: Path | None) -> Client:
    from traindeck.core.models.client import Client
    from traindeck.core.serving import server_of

    if not url:
        return _client(server_of(home, model))
    token = _token(token_file) if token_file else ""
    try:
        return Client(url, token, str(ca) if ca else "")
    except OSError as error:
        raise UsageError(f"--ca {ca}: {error}") from None


def _labels(signature: dict[str, Any], side: str) -> dict[str, list[str]]:
    given = signature.get(side, {})
    return {name: one["labels"] for name, one in given.items() if one.get("labels")}


def _print(outputs: dict[str, Any], labels: dict[str, list[str]]) -> None:
    """A line for each record: the likeliest label and those next to it, or the values by name."""
    rows = max((len(array) for array in outputs.values() if array.ndim), default=1)
    for at in range(rows):
        parts = []
        for name, array in outputs.items():
            value = array[at] if array.ndim else array
            words = labels.get(name, [])
            if value.ndim == 1 and len(words) == len(value) > 1:
                told = _likeliest(value, words)
                parts.append(told if len(outputs) == 1 else f"{name}: {told}")
            else:
                parts.append(f"{name}: {_value(value)}")
        print((f"record {at + 1}: " if rows > 1 else "") + "  ".join(parts))
    if not outputs:
        raise typer.Exit(FAILED)


def _likeliest(value: Any, words: list[str]) -> str:
    """`label 7, probability 97.3%; then 1 1.9%, 9 0.4%`; values that are no shares stay numbers."""
    first, *others = value.argsort()[::-1][:TOP]
    shares = value.min() >= 0 and abs(value.sum() - 1) < SLACK

    def number(place: Any) -> str:
        return f"{value[place]:.1%}" if shares else f"{value[place]:.4g}"

    rest = ", ".join(f"{words[place]} {number(place)}" for place in others)
    what = "probability" if shares else "value"
    return f"label {words[first]}, {what} {number(first)}; then {rest}"


def _value(value: Any) -> str:
    if value.ndim == 0:
        return str(value.item()) if value.dtype == object else f"{value.item():.6g}"
    return " ".join(_value(inner) for inner in value)
