"""What a server of several models tells of each."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import until
from tests.serving.serving_tools import ask, measures, pictures, serving
from traindeck.recipes.shared.deploy.serving.store import Model

ROW = {"instances": [[[1, 2, 3, 4]] * 4]}
WRONG = {"instances": [[1, 2]]}


def page(port: int) -> str:
    told = ask(port, "GET", "/metrics")[1]
    assert isinstance(told, bytes)
    return told.decode()


def test_prometheus_reads_requests_times_and_memory_of_each_model(tmp_path: Path) -> None:
    pictures(tmp_path / "digits/1")
    measures(tmp_path / "patients/3")
    models = Model("digits", tmp_path / "digits"), Model("patients", tmp_path / "patients")
    with serving(tmp_path, *models) as server:
        for _ in range(3):
            ask(server.port, "POST", "/v1/models/digits:predict", ROW)
        ask(server.port, "POST", "/v1/models/digits:predict", WRONG)
        ask(server.port, "POST", "/v1/models/patients:predict", {"instances": [[1, 2, 3]]})
        ask(server.port, "GET", "/v2/models/patients")
        ask(server.port, "POST", "/v1/models/nothing:predict", ROW)
        said = page(server.port)
        of, other = 'model="digits",version="1"', 'model="patients",version="3"'
        assert f'traindeck_model_requests_total{{code="OK",{of}}} 3.0' in said
        assert f'traindeck_model_requests_total{{code="INVALID_ARGUMENT",{of}}} 1.0' in said
        assert f'traindeck_model_requests_total{{code="OK",{other}}} 2.0' in said
        assert f"traindeck_model_request_seconds_count{{{of}}} 4.0" in said
        assert re.search(rf"traindeck_model_bytes\{{{other}\}} [\d.e+]+", said)
        assert "nothing" not in said  # whoever asks for what is not there makes no series
        assert 'traindeck_requests_total{api="tfs-rest",code="NOT_FOUND"} 1.0' in said

        second, each = server.meters.take()
        assert (second.requests, second.errors) == (7, 0)
        assert {key: one.requests for key, one in each.items()} == {
            ("digits", 1): 4,
            ("patients", 3): 2,
        }
        assert all(one.p99_ms and one.p50_ms and one.p50_ms > 0 for one in each.values())
        assert server.meters.take()[1] == {}


def test_a_version_that_is_let_go_of_leaves_the_page(tmp_path: Path) -> None:
    pictures(tmp_path / "digits/1")
    with serving(tmp_path, Model("digits", tmp_path / "digits")) as server:
        ask(server.port, "POST", "/v1/models/digits:predict", ROW)
        assert 'request_seconds_count{model="digits",version="1"} 1.0' in page(server.port)
        pictures(tmp_path / ".part", 2.0)
        (tmp_path / ".part").rename(tmp_path / "digits/2")
        until(lambda: list(server.store.serving()) == [("digits", 2)])
        ask(server.port, "POST", "/v1/models/digits:predict", ROW)
        said = page(server.port)
        assert 'request_seconds_count{model="digits",version="2"} 1.0' in said
        assert 'version="1"' not in said.replace(
            'traindeck_model_state{model="digits",version="1"', ""
        )
        assert 'traindeck_requests_total{api="tfs-rest",code="OK"} 2.0' in said
