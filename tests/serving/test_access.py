"""Who is let in: everybody on this machine, beyond it who has a token or a certificate."""

from __future__ import annotations

import ssl
import subprocess
from http.client import HTTPSConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from tests.serving.serving_tools import ask, pictures, serving
from traindeck.core.base.errors import NotFoundError, UsageError
from traindeck.recipes.shared.deploy.serving import access
from traindeck.recipes.shared.deploy.serving.messages import message
from traindeck.recipes.shared.deploy.serving.store import Model

TOKEN = "a-token-of-thirty-two-characters"
ROW = {"instances": [[[1, 2, 3, 4]] * 4]}


def given(**values: Any) -> SimpleNamespace:
    none = dict.fromkeys(("token_file", "certificate", "key", "client_ca"))
    return SimpleNamespace(**{"host": "127.0.0.1", **none, **values})


class TestWhatIsAskedFor:
    def test_on_this_machine_nothing_is(self, tmp_path: Path) -> None:
        for host in ("127.0.0.1", "::1", "localhost", "127.8.9.10"):
            assert access.secured(given(host=host), tmp_path).token == ""

    def test_beyond_it_a_token_is_made_that_only_its_user_reads(self, tmp_path: Path) -> None:
        found = access.secured(given(host="0.0.0.0"), tmp_path)
        assert len(found.token) >= 32
        path = Path(found.token_file)
        assert path.stat().st_mode & 0o777 == 0o600
        assert access.secured(given(host="0.0.0.0"), tmp_path) == found

    def test_certificates_of_clients_stand_for_it(self, tmp_path: Path) -> None:
        for name in ("c", "k", "ca"):
            (tmp_path / name).touch()
        files = {"certificate": tmp_path / "c", "key": tmp_path / "k", "client_ca": tmp_path / "ca"}
        assert access.secured(given(host="0.0.0.0", **files), tmp_path).token == ""
        del files["client_ca"]
        assert access.secured(given(host="0.0.0.0", **files), tmp_path).token

    def test_what_cannot_be_meant_is_said(self, tmp_path: Path) -> None:
        short = tmp_path / "short"
        short.write_text("abc\n")
        for values, kind, words in (
            ({"host": "example.org"}, UsageError, "is no IP address"),
            ({"token_file": short}, UsageError, "a token is one line of 16"),
            ({"token_file": tmp_path / "none"}, NotFoundError, "cannot be read"),
            ({"certificate": short}, UsageError, "takes both"),
            ({"certificate": short, "key": tmp_path / "none"}, NotFoundError, "no file"),
        ):
            with pytest.raises(kind, match=words):
                access.secured(given(**values), tmp_path)


def test_without_the_token_only_health_is_told(tmp_path: Path) -> None:
    pictures(tmp_path / "m/1")
    with serving(tmp_path, Model("m", tmp_path / "m"), token=TOKEN) as server:
        for path in ("/healthz", "/readyz", "/v2/health/live"):
            assert ask(server.port, "GET", path)[0] == 200
        for path in ("/metrics", "/v1/models/m", "/v2/models/m", "/v1/models/m/ready"):
            status, told = ask(server.port, "GET", path)
            assert (status, "Authorization: Bearer" in told["error"]) == (401, True)
        wrong = {"Authorization": "Bearer other"}
        assert ask(server.port, "POST", "/v1/models/m:predict", ROW, wrong)[0] == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(server.port, "POST", "/v1/models/m:predict", ROW, right)[0] == 200

        status = message("tensorflow.serving.GetModelStatusRequest")()
        status.model_spec.name = "m"
        method = "/tensorflow.serving.ModelService/GetModelStatus"
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            call = channel.unary_unary(method)
            for metadata in ((), (("authorization", "Bearer other"),)):
                with pytest.raises(grpc.RpcError) as caught:
                    call(status.SerializeToString(), metadata=metadata, timeout=30)
                assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            admitted = (("authorization", f"Bearer {TOKEN}"),)
            assert call(status.SerializeToString(), metadata=admitted, timeout=30)


@pytest.mark.slow
def test_mtls_takes_clients_with_a_certificate_and_no_others(tmp_path: Path) -> None:
    for name in ("server", "client", "stranger"):
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {name}.key -out {name}.pem"
            f" -subj /CN={name} -addext subjectAltName=IP:127.0.0.1".split(),
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    pictures(tmp_path / "m/1")
    tls = access.Tls(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "client.pem")

    def status(port: int, name: str) -> int:
        context = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
        if name:
            context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
        try:
            connection.request("GET", "/v1/models/m")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    with serving(tmp_path, Model("m", tmp_path / "m"), tls=tls) as server:
        found = [status(server.port, name) for name in ("client", "stranger", "")]
    assert found == [200, 0, 0]
