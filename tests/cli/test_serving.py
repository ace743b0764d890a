"""`traindeck serve` and `traindeck predict` as people type them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import process_of, until, wait_for_state
from tests.serving.serving_tools import DIGITS, ask, measures, pictures
from traindeck.core import serving
from traindeck.core.base.home import Home
from traindeck.core.models.bundle import write_signature
from traindeck.core.run import points
from traindeck.core.run.folder import RunFolder
from traindeck.core.serving import address, servers
from traindeck.tui.commands.serving import serve

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
ANY = ("--port", "0", "--grpc-port", "0")


@pytest.fixture
def digits(home: Home) -> Path:
    """A model of the home, with labels."""
    base = home.root / "models/digits"
    pictures(base / "1")
    write_signature(
        base / "1",
        {"image": {"dtype": "uint8", "shape": [4, 4]}},
        {"probabilities": {"dtype": "float32", "shape": [10], "labels": DIGITS}},
    )
    return base


def started(traindeck: Run, home: Home, *words: str) -> tuple[RunFolder, dict[str, Any]]:
    told = json.loads(traindeck("serve", *words, *ANY, "--json").stdout)
    return RunFolder(home.runs / told["id"]), told


def test_a_model_is_served_asked_and_stopped(
    traindeck: Run, home: Home, digits: Path, tmp_path: Path
) -> None:
    run, told = started(traindeck, home, "digits")
    assert (told["ready"], told["models"]) == (True, ["digits"])
    [version] = told["versions"]
    assert (version["version"], version["state"], version["error"]) == (1, "serving", "")
    assert Path(version["folder"]) == digits / "1"
    np.save(tmp_path / "x.npy", np.arange(32, dtype=np.uint8).reshape(2, 4, 4))

    said = traindeck("predict", "digits", str(tmp_path / "x.npy")).stdout.splitlines()
    line = r"record {}: label [a-z]+, probability [\d.]+%; then [a-z]+ [\d.]+%, [a-z]+ [\d.]+%"
    assert all(re.fullmatch(line.format(at), one) for at, one in enumerate(said, 1))
    assert len(said) == 2
    flat = traindeck("predict", "digits", "-", input=",".join(map(str, range(16))))
    assert flat.stdout.rstrip() == said[0].removeprefix("record 1: ")
    assert "-: rows of 16 numbers were made 4×4" in flat.stderr
    rows = json.dumps({"instances": [[[1, 2, 3, 4]] * 4]})
    told = json.loads(traindeck("predict", "digits", "-", "--json", input=rows).stdout)
    assert np.shape(told["outputs"]["probabilities"]) == (1, 10)
    assert told["labels"]["probabilities"] == DIGITS
    wrong = traindeck("predict", "digits", "-", input="[[1, 2]]", code=2).stderr
    assert wrong == (
        "error: -: image has shape [1, 1, 2], the model takes [-1, 4, 4] (-1: any),"
        " or rows of 16 numbers\n"
    )
    missing = traindeck("predict", "other", "-", input="[1]", code=3).stderr
    assert "no server of this home serves 'other'; served are: digits" in missing

    traindeck("stop", run.id)
    wait_for_state(run, "stopped")
    assert {"serve/requests_per_second", "serve/p99_ms"} <= points.summarize(run.path).keys()
    assert servers(home) == {}
    assert "requests were answered" in (run.path / "output.log").read_text()


def test_ctrl_c_while_it_is_awaited_says_that_it_goes_on(
    traindeck: Run,
    home: Home,
    digits: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "awaited", interrupted)
    with pytest.raises(KeyboardInterrupt) as left:
        serve(["digits"], port=0, grpc_port=0)
    [run] = home.runs.iterdir()
    said = f"run {run.name} goes on; `traindeck stop {run.name}` ends it"
    assert left.value.__notes__ == [said]
    traindeck("stop", run.name)
    wait_for_state(RunFolder(run))


def test_a_stop_lets_what_has_come_be_answered(traindeck: Run, home: Home, digits: Path) -> None:
    import threading

    run, told = started(traindeck, home, "digits")
    port = int(told["http"].rpartition(":")[2])
    answers: list[int] = []
    stop = threading.Event()

    def load() -> None:
        body = {"instances": [[[1, 2, 3, 4]] * 4]}
        while not stop.is_set():
            try:
                answers.append(ask(port, "POST", "/v1/models/digits:predict", body)[0])
            except OSError:  # it takes no new connections
                return

    client = threading.Thread(target=load)
    client.start()
    until(lambda: len(answers) > 20)
    traindeck("stop", run.id)
    client.join(30)
    stop.set()
    wait_for_state(run, "stopped")
    assert set(answers) == {200}


def test_folders_other_names_and_two_of_them(traindeck: Run, home: Home, tmp_path: Path) -> None:
    pictures(tmp_path / "a/1")
    measures(tmp_path / "b")
    run, told = started(traindeck, home, f"first={tmp_path}/a", str(tmp_path / "b"))
    unlabelled = traindeck("predict", "b", "-", input="1,2,3").stdout
    assert re.fullmatch(r"probabilities:( [\d.]+){10}\n", unlabelled)
    assert told["models"] == ["first", "b"]
    port = int(told["http"].rpartition(":")[2])
    assert ask(port, "POST", "/v1/models/b:predict", {"instances": [[1, 2, 3]]})[0] == 200

    def logged() -> bool:  # each by itself, since there are two
        ask(port, "POST", "/v1/models/b:predict", {"instances": [[1, 2, 3]]})
        return "serve/b/1/p99_ms" in points.summarize(run.path)

    until(logged)
    series = points.summarize(run.path)
    assert {f"serve/b/1/{one}" for one in ("requests_per_second", "errors")} <= series.keys()
    assert "serve/first/1/p99_ms" not in series  # nobody has asked it
    traindeck("kill", run.id)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "say what is to be served"),
        (("nothing",), 3, "'nothing' is no model, no run and no folder; models are: digits"),
        (("digits", "digits"), 2, "two models would be served as 'digits'"),
        (("../x=digits",), 2, "cannot be a model's name"),
        (("digits", "--host", "example.org"), 2, "is no IP address"),
        (("digits", "--versions", "newest"), 2, "is none of latest"),
        (("digits", "-p", "threads=0"), 2, "threads: 0 is below the least allowed"),
        (("digits", "--print-tf-serving"), 2, "has no saved_model.pb"),
    ],
)
def test_what_cannot_be_served_is_said(
    traindeck: Run, digits: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ports = () if "--print-tf-serving" in words else ANY
    assert said in traindeck("serve", *words, *ports, code=code).stderr


@pytest.mark.usefixtures("digits")
def test_a_model_that_is_not_served_is_told_with_what_was_meant(traindeck: Run) -> None:
    said = traindeck("predict", "digts", "-", input="[]", code=3).stderr
    assert "did you mean digits?" in said and "serve digts" not in said
    said = traindeck("predict", "nothing", "-", input="[]", code=3).stderr
    assert "`traindeck models` lists those to serve" in said
    said = traindeck("predict", "digits", "-", input="[]", code=3).stderr
    assert "`traindeck serve digits` serves it" in said


def test_a_format_that_is_not_there_is_said_and_looked_for_again(
    traindeck: Run, home: Home, digits: Path
) -> None:
    done = traindeck("serve", "digits", "--format", "litert", *ANY, "--json", code=1)
    assert "digits is not served" in done.stderr
    assert "has no model.tflite" in done.stderr
    assert json.loads(done.stdout)["ready"] is False
    traindeck("kill", json.loads(done.stdout)["id"])


def test_a_port_that_is_taken_is_said(traindeck: Run, home: Home, digits: Path) -> None:
    run, told = started(traindeck, home, "digits")
    port = told["http"].rpartition(":")[2]
    again = traindeck("serve", "digits", "--port", port, "--grpc-port", "0", code=1)
    assert "Address already in use" in again.stderr
    traindeck("kill", run.id)


def test_commands_for_other_servers_name_the_same_folder(traindeck: Run, digits: Path) -> None:
    done = traindeck("serve", "digits", "--print-docker")
    assert f"-v {digits}:/models/digits:ro" in done.stdout
    assert "printed, not run" in done.stderr
    (digits / "1/saved_model.pb").touch()
    done = traindeck("serve", "digits", "--print-tf-serving", "--port", "9")
    assert done.stdout == (
        "tensorflow_model_server --port=8500 --rest_api_port=9 --model_name=digits"
        f" --model_base_path={digits}\n"
    )


def test_a_crash_is_mended_as_often_as_was_asked(traindeck: Run, home: Home, digits: Path) -> None:
    run, told = started(traindeck, home, "digits", "--restart", "1")
    first = told["http"]
    import psutil

    keeper = psutil.Process(process_of(run, "child").pid)
    [server] = keeper.children()
    server.send_signal(signal.SIGKILL)
    until(lambda: (there := address(run.path)) is not None and there["http"] != first)
    traindeck("stop", run.id)
    wait_for_state(run, "stopped")


def test_beyond_this_machine_a_token_is_needed_and_predict_finds_it(
    traindeck: Run, home: Home, digits: Path
) -> None:
    run, told = started(traindeck, home, "digits", "--host", "0.0.0.0")
    port = int(told["http"].rpartition(":")[2])
    assert ask(port, "GET", "/v1/models/digits")[0] == 401
    row = json.dumps([[[1, 2, 3, 4]] * 4])
    assert traindeck("predict", "digits", "-", input=row).stdout
    url = f"http://127.0.0.1:{port}"
    refused = traindeck("predict", "digits", "-", "--url", url, input=row, code=1)
    assert "Authorization: Bearer" in refused.stderr
    given = ("--url", url, "--token-file", told["token_file"])
    assert traindeck("predict", "digits", "-", *given, input=row).stdout
    traindeck("kill", run.id)


def test_a_linear_model_is_asked_in_private(
    traindeck: Run, home: Home, digits: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tenseal")
    run, _ = started(traindeck, home, "digits", "--private", "ckks")
    row = json.dumps([[[1, 2, 3, 4]] * 4])
    asked = ("predict", "digits", "-", "--json")
    seen = json.loads(traindeck(*asked, input=row).stdout)["outputs"]["probabilities"]
    hidden = json.loads(traindeck(*asked, "--private", input=row).stdout)["outputs"]
    assert np.allclose(hidden["probabilities"], seen, atol=1e-5)
    traindeck("kill", run.id)


def test_mtls_from_end_to_end(traindeck: Run, home: Home, digits: Path, tmp_path: Path) -> None:
    for name in ("server", "client"):
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {name}.key -out {name}.pem"
            f" -subj /CN={name} -addext subjectAltName=IP:127.0.0.1".split(),
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    files = [f"--certificate={tmp_path}/server.pem", f"--key={tmp_path}/server.key"]
    run, told = started(traindeck, home, "digits", *files, f"--client-ca={tmp_path}/client.pem")
    assert told["http"].startswith("https://")
    row = json.dumps([[[1, 2, 3, 4]] * 4])
    own = [f"--certificate={tmp_path}/client.pem", f"--key={tmp_path}/client.key"]
    assert traindeck("predict", "digits", "-", *own, input=row).stdout
    assert "does not answer" in traindeck("predict", "digits", "-", input=row, code=1).stderr
    traindeck("kill", run.id)
