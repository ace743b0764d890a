"""Run by tensorflow-serving-api's environment: every message of our table as the stubs have it."""

import importlib.util
import json
import pkgutil
import sys
import types

known = importlib.util.find_spec("tensorflow")
stand_in = types.ModuleType("tensorflow")
stand_in.__path__ = list(known.submodule_search_locations)
sys.modules["tensorflow"] = stand_in

import tensorflow_serving.apis  # noqa: E402
from google.protobuf import descriptor_pool  # noqa: E402

for module in pkgutil.iter_modules(tensorflow_serving.apis.__path__):
    if module.name.endswith("_pb2"):
        __import__(f"tensorflow_serving.apis.{module.name}")
__import__("tensorflow_serving.config.model_server_config_pb2")
__import__("tensorflow.core.protobuf.saved_model_pb2")
__import__("tensorflow.core.example.example_pb2")

pool = descriptor_pool.Default()
told = {}
for name in json.load(sys.stdin):
    message = pool.FindMessageTypeByName(name)
    told[name] = {
        field.name: [
            field.number,
            field.type,
            bool(field.is_repeated),
            field.message_type.full_name if field.message_type else "",
            field.enum_type.full_name if field.enum_type else "",
            field.containing_oneof.name if field.containing_oneof else "",
        ]
        for field in message.fields
    }
print(json.dumps(told))
