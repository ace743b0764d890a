"""The messages of `table`, made at the start of a server.

The official stubs import TensorFlow, 669 MB of it, for the same classes. These stand in a pool of
their own, so that both can be loaded in one process.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    wrappers_pb2,
)

from traindeck.recipes.shared.deploy.serving.table import PACKAGES

Message = Any
"""A message's class, or one of it: protobuf makes them while the program runs."""

_FIELD = re.compile(r"(\d+) ([\w.]+)(\[\]|\{\})? (?:(\w+):)?(\w+)")
_Field = descriptor_pb2.FieldDescriptorProto


@functools.cache
def message(name: str) -> Message:
    """The class of a message by its full name, such as `tensorflow.serving.ModelSpec`."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))


@functools.cache
def pool() -> descriptor_pool.DescriptorPool:
    """All of the table."""
    made = descriptor_pool.DescriptorPool()
    known = set()
    for theirs in (any_pb2, wrappers_pb2):
        made.AddSerializedFile(theirs.DESCRIPTOR.serialized_pb)
        known.add(theirs.DESCRIPTOR.name)
    enums = {
        f"{package}.{line.partition(' = ')[0]}"
        for package, text in PACKAGES.items()
        for line in text.splitlines()
        if " = " in line
    }
    for package, text in PACKAGES.items():
        file = descriptor_pb2.FileDescriptorProto(
            name=f"traindeck/{package}.proto", package=package, syntax="proto3"
        )
        file.dependency.extend(sorted(known))
        for line in sorted(filter(None, text.splitlines()), key=_depth):
            _add(file, line, package, enums)
        made.AddSerializedFile(file.SerializeToString())
        known.add(file.name)
    return made


def _depth(line: str) -> int:
    """A message stands before those inside it."""
    return re.split(r":| =", line)[0].count(".")


def _add(file: Message, line: str, package: str, enums: set[str]) -> None:
    name = re.split(r":| =", line)[0]
    *outer, own = name.split(".")
    place = file
    for part in outer:
        nested = place.message_type if place is file else place.nested_type
        place = next(one for one in nested if one.name == part)
    if line.startswith(f"{name} = "):
        _enum(place.enum_type.add(name=own), line.partition(" = ")[2])
        return
    target = (place.message_type if place is file else place.nested_type).add(name=own)
    for number, kind, many, oneof, field in _FIELD.findall(line.partition(":")[2]):
        _field(target, f"{package}.{name}", int(number), kind, many, oneof, field, package, enums)


def _enum(target: Message, words: str) -> None:
    number = 0
    for word in words.split():
        name, _, given = word.partition("=")
        number = int(given) if given else number
        target.value.add(name=name, number=number)
        number += 1


def _field(
    target: Message,
    full: str,
    number: int,
    kind: str,
    many: str,
    oneof: str,
    name: str,
    package: str,
    enums: set[str],
) -> None:
    one = target.field.add(name=name, number=number, json_name=name)
    one.label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
    if many == "{}":
        entry = "".join(map(str.capitalize, name.split("_"))) + "Entry"
        inside = target.nested_type.add(name=entry)
        inside.options.map_entry = True
        _typed(inside.field.add(name="key", number=1, label=1), "string", package, enums)
        _typed(inside.field.add(name="value", number=2, label=1), kind, package, enums)
        one.type, one.type_name = _Field.TYPE_MESSAGE, f".{full}.{entry}"
        return
    _typed(one, kind, package, enums)
    if oneof:
        names = [known.name for known in target.oneof_decl]
        if oneof not in names:
            target.oneof_decl.add(name=oneof)
            names.append(oneof)
        one.oneof_index = names.index(oneof)


def _typed(field: Message, kind: str, package: str, enums: set[str]) -> None:
    scalar = _Field.Type.DESCRIPTOR.values_by_name.get(f"TYPE_{kind.upper()}")
    if scalar is not None:
        field.type = scalar.number
        return
    full = kind if kind.startswith(("tensorflow.", "google.")) else f"{package}.{kind}"
    field.type = _Field.TYPE_ENUM if full in enums else _Field.TYPE_MESSAGE
    field.type_name = f".{full}"
