"""SavedModels through a Session over their graph: a fifth of what `tf.saved_model.load` costs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from traindeck.recipes.shared.deploy.serving.errors import brief, invalid
from traindeck.recipes.shared.deploy.serving.kinds import Array, Signature
from traindeck.recipes.shared.deploy.serving.messages import message
from traindeck.recipes.shared.deploy.serving.meters import memory


class SavedModel:
    """The one backend that imports TensorFlow."""

    kind = "tensorflow"

    def __init__(self, path: Path, threads: int = 1) -> None:
        saved = message("tensorflow.SavedModel").FromString((path).read_bytes())
        graphs = [one for one in saved.meta_graphs if "serve" in one.meta_info_def.tags]
        if not graphs:
            raise ValueError(f"{path} has no graph that is tagged 'serve'")
        found = {
            name: Signature.read(proto)
            for name, proto in graphs[0].signature_def.items()
            if not name.startswith("__")
        }
        self.signatures = {name: one for name, one in found.items() if one is not None}
        if not self.signatures:
            raise ValueError(f"{path} has no signature that could be asked")

        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
        import tensorflow as tf

        self.memory = memory()
        self._tf: Any = tf
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads,
            inter_op_parallelism_threads=threads,
            use_per_session_threads=True,
        )
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        self._calls: dict[tuple[str, ...], tuple[list[str], list[str], Callable[..., Any]]] = {}
        self._lock = threading.Lock()
        with self._session.graph.as_default():
            tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(path.parent))

    def run(
        self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()
    ) -> dict[str, Array]:
        given, names, call = self._call(signature, outputs)
        try:
            made = call(*[inputs[name] for name in given])
        except (self._tf.errors.OpError, ValueError, TypeError) as error:
            raise invalid(brief(error)) from None
        return dict(zip(names, made, strict=True))

    def _call(
        self, signature: str, outputs: Sequence[str]
    ) -> tuple[list[str], list[str], Callable[..., Any]]:
        key = (signature, *outputs)
        with self._lock:
            if key not in self._calls:
                from tensorflow.core.protobuf.config_pb2 import CallableOptions

                proto = self.signatures[signature].proto
                names = [name for name in proto.outputs if not outputs or name in outputs]
                options = CallableOptions(
                    feed=[proto.inputs[name].name for name in proto.inputs],
                    fetch=[proto.outputs[name].name for name in names],
                )
                # The public make_callable takes static shapes for what a request must have.
                with self._session.graph.as_default():
                    call = self._session._make_callable_from_options(options)
                self._calls[key] = (list(proto.inputs), names, call)
            return self._calls[key]
