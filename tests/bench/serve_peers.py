"""Another server over the same ONNX file, run by that server's own environment.

PYTHON tests/bench/serve_peers.py mlserver|litserve|bentoml|kserve MODEL.onnx PORT
"""

import json
import logging
import os
import sys
import tempfile
from pathlib import Path


def session(path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


try:
    from mlserver import MLModel
    from mlserver.codecs import NumpyCodec
    from mlserver.types import InferenceResponse
except ImportError:
    pass
else:

    class Onnx(MLModel):
        """What MLServer's documentation has for a runtime of one's own."""

        async def load(self):
            self.session = session(os.environ["PEER_MODEL"])
            return True

        async def predict(self, payload):
            image = NumpyCodec.decode_input(payload.inputs[0]).astype("uint8")
            made = self.session.run(None, {"image": image})[0]
            output = NumpyCodec.encode_output("probabilities", made)
            return InferenceResponse(model_name=self.name, outputs=[output])


try:
    import litserve as ls
    import numpy as np
except ImportError:
    pass
else:

    class Api(ls.LitAPI):
        """What LitServe's documentation has for a model of one's own."""

        def setup(self, device):
            self.session = session(os.environ["PEER_MODEL"])

        def decode_request(self, request):
            return np.array(request["instances"], np.uint8)

        def predict(self, image):
            return self.session.run(None, {"image": image})[0]

        def encode_response(self, output):
            return {"predictions": output.tolist()}


try:
    import bentoml
    import numpy as np
except ImportError:
    pass
else:

    @bentoml.service(workers=1, logging={"access": {"enabled": False}})
    class Bento:
        """What BentoML's documentation has for a service of one's own."""

        def __init__(self):
            self.session = session(os.environ["PEER_MODEL"])

        @bentoml.api
        def predict(self, instances: np.ndarray) -> np.ndarray:
            return self.session.run(None, {"image": instances.astype(np.uint8)})[0]


def bento(path, port):
    env = {**os.environ, "PEER_MODEL": path, "BENTOML_DO_NOT_TRACK": "True"}
    command = [Path(sys.executable).with_name("bentoml"), "serve", "serve_peers:Bento"]
    command += ["--host", "127.0.0.1", "--port", port, "--working-dir", Path(__file__).parent]
    os.execve(command[0], [str(word) for word in command], env)


def kserve(path, port):
    from kserve import InferOutput, InferResponse, Model, ModelServer

    logging.disable(logging.INFO)  # a line for each request, and its times

    class Onnx(Model):
        """What KServe's documentation has for a model of one's own."""

        def __init__(self):
            super().__init__("m")
            self.session = session(path)
            self.ready = True

        def predict(self, payload, headers=None):
            image = payload.inputs[0].as_numpy()
            made = self.session.run(None, {"image": image})[0]
            output = InferOutput("probabilities", list(made.shape), "FP32")
            output.set_data_from_numpy(made, binary_data=payload.use_binary_outputs)
            return InferResponse(payload.id or "none", "m", [output])

    server = ModelServer(http_port=port, workers=1, enable_grpc=False)
    server.start([Onnx()])


def mlserver(path, port):
    folder = Path(tempfile.mkdtemp())
    place = Path(__file__).parent
    (folder / "settings.json").write_text(
        json.dumps(
            {
                "http_port": port,
                "grpc_port": port + 1,
                "metrics_port": port + 2,
                "parallel_workers": 0,
                "debug": False,
                "use_structured_logging": False,
                "logging_settings": {"version": 1, "disable_existing_loggers": True},
            }
        )
    )
    (folder / "model-settings.json").write_text(
        json.dumps({"name": "m", "implementation": "serve_peers.Onnx"})
    )
    env = {**os.environ, "PEER_MODEL": path, "PYTHONPATH": str(place)}
    command = [Path(sys.executable).with_name("mlserver"), "start", folder]
    os.execve(command[0], [str(word) for word in command], env)


def litserve(path, port):
    os.environ["PEER_MODEL"] = path
    server = ls.LitServer(Api(), accelerator="cpu")
    server.run(port=port, host="127.0.0.1", log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    peers = {"mlserver": mlserver, "litserve": litserve, "bentoml": bento, "kserve": kserve}
    peers[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
