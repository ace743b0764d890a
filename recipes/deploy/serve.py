# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "orjson>=3.10", "uvicorn>=0.40", "httptools>=0.7", "uvloop>=0.22",
#   "grpcio>=1.76", "protobuf>=6", "pysimdjson>=7", "prometheus-client>=0.22", "traindeck"]
# [tool.traindeck]
# name = "serve"
# title = "Serve models"
# description = "TensorFlow Serving's and KServe's APIs, REST and gRPC, over exported models."
# framework = "other"
# task = "serving"
# tags = ["deploy", "serving"]
# headline = "serve/requests_per_second"
# [tool.traindeck.params]
# models = {type = "str", default = "", help = "names, runs, folders; AS=… serves by another name"}
# config = {type = "path", help = "a model config of TensorFlow Serving, instead"}
# host = {type = "str", default = "127.0.0.1", help = "beyond loopback, a token or mTLS is needed"}
# port = {type = "int", default = 8501, min = 0, max = 65535, help = "of REST; 0: any"}
# grpc_port = {type = "int", default = 8500, min = -1, max = 65535, help = "0: any, -1: none"}
# format = {type = "choice", default = "auto", choices = ["auto", "onnx", "saved_model", "litert",
#   "pt2", "litert-dynamic", "litert-int8"], help = "auto: the first of these that is there"}
# versions = {type = "str", default = "latest", help = "latest:2, all, stable, or 3,5"}
# poll = {type = "float", default = 1.0, min = 0.0, max = 3600.0, help = "seconds; 0: look once"}
# threads = {type = "int", default = 2, min = 1, max = 256, help = "requests that run at once"}
# model_threads = {type = "int", default = 1, min = 1, max = 256, help = "of one request"}
# batch = {type = "int", default = 0, min = 0, max = 4096, help = "records run together; 0: none"}
# batch_ms = {type = "float", default = 0.0, min = 0.0, max = 1000.0, help = "wait for company"}
# max_body_mb = {type = "int", default = 64, min = 1, max = 2048, help = "of one request"}
# max_rows = {type = "int", default = 4096, min = 1, max = 1000000, help = "of one request"}
# max_queue = {type = "int", default = 1000, min = 1, max = 100000, help = "requests that wait"}
# timeout = {type = "float", default = 30.0, min = 0.1, max = 3600.0, help = "seconds of a request"}
# nan = {type = "bool", default = false, help = "take NaN and infinity as inputs"}
# token_file = {type = "path", help = "whose first line is the token; else one is made if needed"}
# certificate = {type = "path", help = "PEM: serve over TLS"}
# key = {type = "path", help = "PEM, of the certificate"}
# client_ca = {type = "path", help = "PEM: only clients with a certificate of this CA (mTLS)"}
# private = {type = "choice", default = "none", choices = ["none", "ckks"], help = """\
#   ckks: linear models are also asked by ciphertexts"""}
# restart = {type = "int", default = 0, min = 0, max = 1000, help = "times that a crash is mended"}
# ///
"""Serve models until stopped. The server itself is in recipes/shared/deploy/serving/.

Ready once `/readyz` says 200. A stop lets every request that has come be answered.
"""

from __future__ import annotations

import shlex

from traindeck.core import track
from traindeck.core.base.errors import FAILED, NOT_FOUND, TraindeckError
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.serving import ADDRESS
from traindeck.recipes.shared.deploy.serving import access, restart


def main(run: track.Run) -> None:
    p = run.params
    home = Home.default()
    try:
        secured = access.secured(p, run.folder or run.artifacts)
    except TraindeckError as error:
        track.abort(str(error), error.exit_code)
    if p.restart:
        restart.watch(run, p.restart)
        return
    print("loading the server ...", flush=True)
    try:
        import uvloop

        from traindeck.recipes.shared.deploy.private import desk as private
        from traindeck.recipes.shared.deploy.serving.chosen import changed, limits, models
        from traindeck.recipes.shared.deploy.serving.reporting import Reporter
        from traindeck.recipes.shared.deploy.serving.server import Options, serve
    except ImportError as error:
        track.abort(f"{error.name} is not installed: pip install 'traindeck[deploy]'")
    try:
        chosen = models(home, p, shlex.split(p.models))
        if p.private == "ckks":
            private.check(chosen)
    except (TraindeckError, ValueError) as error:
        track.abort(str(error), getattr(error, "exit_code", NOT_FOUND))
    options = Options(
        models=chosen,
        home=home,
        host=p.host,
        port=p.port,
        grpc_port=p.grpc_port if p.grpc_port >= 0 else None,
        token=secured.token,
        tls=secured.tls,
        poll=p.poll,
        threads=p.threads,
        model_threads=p.model_threads,
        batch=p.batch,
        batch_seconds=p.batch_ms / 1000,
        limits=limits(p),
        changed=changed(p),
        private=p.private == "ckks",
    )

    def listening(address: dict[str, object]) -> None:
        """Whoever looks for the server finds it by this file."""
        write_json((run.folder or run.artifacts) / ADDRESS, address)

    reporter = Reporter(run, options, secured.token_file, listening)
    try:
        uvloop.run(serve(options, reporter.look))
    except OSError as error:
        track.abort(str(error), FAILED)
    print(f"stopped; {reporter.answered} requests were answered", flush=True)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
