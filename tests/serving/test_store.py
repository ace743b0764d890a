"""Versions that come, go, are half there, and change while requests are answered."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import until
from tests.serving.serving_tools import ask, error, pictures, serving
from traindeck.core.base.errors import UsageError
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.models.bundle import BUNDLE, write_signature
from traindeck.core.run import events
from traindeck.recipes.shared.deploy.serving import config
from traindeck.recipes.shared.deploy.serving.backends import choose, own
from traindeck.recipes.shared.deploy.serving.errors import Refused
from traindeck.recipes.shared.deploy.serving.store import Model, Store

ROW = {"instances": [[[1, 2, 3, 4]] * 4]}


class Fake:
    """A backend that is its version's number."""

    kind = "fake"
    memory = 0

    def __init__(self, folder: Path) -> None:
        self.number = int(folder.name)
        self.signatures: dict[str, Any] = {}

    def run(self, signature: str, inputs: Any, outputs: Any = ()) -> Any:
        return {}


def load(folder: Path, prefer: str) -> Any:
    if (folder / "broken").exists():
        raise Refused("INTERNAL", "it is broken")
    return Fake(folder)


def store(base: Path, **options: Any) -> Store:
    made = Store([Model("m", base, **options)], load)
    made.look()
    return made


def served(made: Store) -> list[int]:
    return [one.number for one in made.status("m") if one.state == 30]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        (tmp_path / str(number)).mkdir()
    (tmp_path / ".11.part").mkdir()
    (tmp_path / "notes").mkdir()
    return tmp_path


class TestWhatIsServed:
    def test_policies(self, base: Path) -> None:
        assert served(store(base)) == [10]
        assert served(store(base, count=2)) == [10, 2]
        assert served(store(base, policy="all")) == [10, 2, 1]
        assert served(store(base, policy="specific", numbers=frozenset({1, 2}))) == [2, 1]

    def test_labels_keep_what_they_are_on(self, base: Path) -> None:
        write_json(base / "labels.json", {"stable": 2, "wrong": "x"})
        made = store(base)
        assert served(made) == [10, 2]
        assert made.get("m", label="stable")[1] == 2
        assert made.get("m")[1] == 10
        only = store(base, policy="stable")
        assert served(only) == [2]
        write_json(base / "labels.json", {"stable": 1})  # rolled back
        only.look()
        assert served(only) == [1]

    def test_a_new_version_takes_over_and_the_old_one_ends(self, base: Path) -> None:
        made = store(base)
        (base / "12").mkdir()
        made.look()
        assert made.get("m")[1] == 12
        assert [one.state for one in made.status("m")] == [30, 50]

    def test_a_broken_version_ends_while_the_old_one_serves_and_heals(self, base: Path) -> None:
        made = store(base)
        (base / "12").mkdir()
        (base / "12/broken").touch()
        made.look()
        newest, old = made.status("m")
        assert (newest.state, str(newest.error)) == (50, "it is broken")
        assert old.state == 30
        assert made.get("m")[1] == 10
        (base / "12/broken").unlink()
        made.look()
        assert made.get("m")[1] == 12

    def test_the_last_one_stays_when_its_folder_goes(self, base: Path) -> None:
        made = store(base)
        for number in (1, 2, 10):
            (base / str(number)).rmdir()
        made.look()
        assert made.get("m")[1] == 10

    def test_a_model_that_is_no_longer_wanted_is_let_go(self, base: Path) -> None:
        made = store(base)
        made.set([Model("other", base)])
        with pytest.raises(Refused, match=r"Servable not found for request: Latest\(m\)"):
            made.get("m")
        assert made.get("other")[1] == 10
        assert made.ready()


def test_a_config_file_says_what_tensorflow_serving_reads_in_it(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text(
        'model_config_list { config { name: "a" base_path: "/x" model_platform: "tensorflow"\n'
        "  model_version_policy { specific { versions: 3 versions: 5 } }\n"
        '  version_labels { key: "stable" value: 3 } }\n'
        '  config { name: "b" base_path: "/y" model_version_policy { latest { num_versions: 2 } } }'
        '  config { name: "c" base_path: "/z" model_version_policy { all { } } } }'
    )
    a, b, c = config.read(path)
    assert (a.policy, a.numbers, a.labels) == ("specific", {3, 5}, {"stable": 3})
    assert (b.policy, b.count, c.policy) == ("latest", 2, "all")
    path.write_text("model_config_list { config { nom: 3 } }")
    with pytest.raises(UsageError, match="is no model config of TensorFlow Serving"):
        config.read(path)


def test_a_config_file_that_changes_is_read_again(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "models.config"

    def write(name: str) -> None:
        path.write_text(f'model_config_list {{ config {{ name: "{name}" base_path: "{base}" }} }}')

    write("a")
    made = Store(config.read(path), load, 0.01, changed=config.Watched(path))
    thread = made.start()
    write("other")
    until(lambda: list(made.models) == ["other"] and made.ready())
    path.write_text("nonsense")
    until(lambda: "what was served goes on" in capfd.readouterr().err)
    assert made.get("other")[1] == 10
    made.stop()
    thread.join()


def test_what_versions_may_say() -> None:
    assert config.policy("latest") == ("latest", 1, frozenset())
    assert config.policy("latest:3") == ("latest", 3, frozenset())
    assert config.policy("3,5") == ("specific", 1, frozenset({3, 5}))
    for wrong in ("", "latest:0", "newest", "3,x"):
        with pytest.raises(UsageError, match="is none of"):
            config.policy(wrong)


class TestFolders:
    def test_a_model_that_was_copied_in_part_says_so_and_heals(self, tmp_path: Path) -> None:
        whole = pictures(tmp_path / "whole/1")
        base = tmp_path / "m"
        pictures(base / "1")
        with serving(tmp_path, Model("m", base)) as server:
            (base / "2").mkdir()
            data = whole.read_bytes()
            (base / "2/model.onnx").write_bytes(data[: len(data) // 2])
            path = "/v1/models/m"

            def states() -> list[str]:
                told = ask(server.port, "GET", path)[1]["model_version_status"]
                return [one["state"] for one in told]

            until(lambda: states() == ["END", "AVAILABLE"])
            _, told = ask(server.port, "GET", f"{path}/versions/2")
            assert "model.onnx cannot be loaded" in str(told)
            assert ask(server.port, "POST", f"{path}:predict", ROW)[0] == 200
            (base / "2/model.onnx").write_bytes(data)
            until(lambda: states() == ["AVAILABLE", "END"])

    def test_a_bundle_whose_file_is_another_is_refused(self, tmp_path: Path) -> None:
        path = pictures(tmp_path / "1")
        bundle = {
            "format": 1,
            "name": "m",
            "version": 1,
            "created": 0.0,
            "formats": {"onnx": {"path": "model.onnx"}},
            "files": {"model.onnx": own.sha256(path)},
        }
        write_json(tmp_path / "1" / BUNDLE, bundle)
        assert choose.load(tmp_path / "1").kind == "onnxruntime"
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(Refused, match="is not what was exported"):
            choose.load(tmp_path / "1")

    def test_a_foreign_pt2_is_never_loaded(self, tmp_path: Path) -> None:
        home = Home(tmp_path / "home")
        folder = tmp_path / "m/1"
        folder.mkdir(parents=True)
        (folder / "model.pt2").write_bytes(b"PK anything")
        write_signature(
            folder,
            {"x": {"dtype": "float32", "shape": [3]}},
            {"y": {"dtype": "float32", "shape": [1]}},
        )
        run = home.runs / "2abc"
        (run / "artifacts/servable").mkdir(parents=True)
        own_file = run / "artifacts/servable/model.pt2"
        shutil.copy(folder / "model.pt2", own_file)
        with pytest.raises(Refused, match=r"is no \.pt2 that a run of this home has recorded"):
            choose.load(folder, home=home)
        assert not own.made(own_file, None, home)  # it lies there, and no run recorded it
        digest = own.sha256(own_file)
        events.append(
            run / "events.jsonl",
            "artifact",
            path="x",
            kind="servable",
            sha256={"model.pt2": digest},
        )
        assert own.made(own_file, None, home)
        bundle: Any = {"run": {"id": "2abc"}}
        assert own.made(folder / "model.pt2", bundle, home)
        bundle = {"run": {"id": "2xyz"}, "exported_by": "2abc"}
        assert own.made(folder / "model.pt2", bundle, home)
        for name in ("../2abc", "2xyz", 3):
            assert not own.made(folder / "model.pt2", {"run": {"id": name}}, home)  # type: ignore[typeddict-item]

    def test_what_is_not_there_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match=r"has no model.onnx and no saved_model.pb"):
            choose.load(tmp_path)


def test_swaps_under_load_fail_no_request(tmp_path: Path) -> None:
    base = tmp_path / "m"
    pictures(base / "1")
    with serving(tmp_path, Model("m", base)) as server:
        stop = threading.Event()
        answers: list[int] = []

        def load() -> None:
            while not stop.is_set():
                answers.append(ask(server.port, "POST", "/v1/models/m:predict", ROW)[0])

        clients = [threading.Thread(target=load) for _ in range(2)]
        for one in clients:
            one.start()
        for number in range(2, 8):
            pictures(base / f".{number}.part", scale=number)
            (base / f".{number}.part").rename(base / str(number))
            until(lambda number=number: server.store.get("m")[1] == number)
            shutil.rmtree(base / str(number - 1))
        before = len(answers)
        until(lambda: len(answers) > before + 10)
        stop.set()
        for one in clients:
            one.join()
    assert set(answers) == {200}


def test_a_stop_waits_for_what_is_being_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go = threading.Event(), threading.Event()
    pictures(tmp_path / "m/1")
    real = choose.load(tmp_path / "m/1")

    class Slow(Fake):
        def run(self, signature: str, inputs: Any, outputs: Any = ()) -> Any:
            began.set()
            go.wait(30)
            return real.run(signature, inputs, outputs)

    def slow(folder: Path, prefer: str = "", **_: Any) -> Any:
        made = Slow(folder)
        made.signatures = dict(real.signatures)
        return made

    monkeypatch.setattr(choose, "load", slow)
    answers: list[int] = []
    with serving(tmp_path, Model("m", tmp_path / "m")) as server:

        def post() -> None:
            answers.append(ask(server.port, "POST", "/v1/models/m:predict", ROW)[0])

        client = threading.Thread(target=post)
        client.start()
        began.wait(30)
        server.app.draining = True
        assert ask(server.port, "GET", "/readyz")[0] == 503
        threading.Timer(0.5, go.set).start()  # by then it is being stopped
    client.join()
    assert answers == [200]


def test_a_server_without_a_version_is_not_ready_and_says_why(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    with serving(tmp_path, Model("m", base), ready=False) as server:
        assert ask(server.port, "GET", "/readyz")[0] == 503
        assert ask(server.port, "GET", "/v1/models/m/ready")[0] == 503
        assert ask(server.port, "GET", "/healthz")[0] == 200
        assert ask(server.port, "GET", "/v2/health/ready")[0] == 503
        assert error(server.port, "/v1/models/m:predict", ROW)[0] == 404
        pictures(base / "1")
        until(lambda: ask(server.port, "GET", "/readyz")[0] == 200)
        assert np.shape(
            ask(server.port, "POST", "/v1/models/m:predict", ROW)[1]["predictions"]
        ) == (
            1,
            10,
        )
