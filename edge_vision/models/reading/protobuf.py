"""Tells files of protobuf messages apart by their outermost fields; nothing is parsed as a whole, nothing is copied.

A message is a list of (field number, wire type, value); see https://protobuf.dev/programming-guides/encoding. None of
the formats has a magic number, but their schemas number the fields differently:

- ONNX `ModelProto`: 1 version (number), 2 producer, 3 its version, 7 graph, 8 operator sets
- TensorFlow `GraphDef`: 1 node (a message that begins with a name), 2 library, 4 versions
- TensorFlow `SavedModel`: 1 version (number), 2 graph; nothing else
- Caffe `NetParameter`: 1 name (text), 2 or 100 layer
- Paddle `ProgramDesc`: 1 block (a message that begins with two numbers), 4 version, 5 map of versions
- CoreML `Model`: 1 version (number), 2 description, 200 and more the kind of model
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

Buffer: TypeAlias = "bytes | memoryview"

_NUMBER: Final = 0
_LONG: Final = 1
_BYTES: Final = 2
_SHORT: Final = 5
_FIXED: Final = {_LONG: 8, _SHORT: 4}
_MOST_FIELDS: Final = 20_000
"""A frozen graph has a field per node; the fields that tell come long before."""
_ONNX_GRAPH: Final = 7
_ONNX_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_LATEST_IR: Final = 1000
"""Far more than there will be: ONNX is at 13 in 2026, and other messages begin with a checksum."""
_FIRST_COREML_KIND: Final = 200
_CAFFE_LAYER: Final = 100


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number, its value where it is a number, else where its bytes begin and how many there should be.

    `missing` counts the bytes that lie behind the end of the file.
    """

    number: int
    value: int | None
    start: int
    length: int
    missing: int


def told_by_fields(data: Buffer) -> tuple[str, str] | None:
    """The format and a few words about it; None when the bytes are no message of any of these formats."""
    fields = list(_fields(data, 0, len(data)))
    if not fields or fields[0].number != 1:
        return None
    numbers = {field.number for field in fields}
    missing = next((field.missing for field in fields if field.missing), 0)
    cut = f"; cut short: {missing} bytes are missing at the end" if missing else ""
    for kind, words in _candidates(data, fields, numbers):
        return kind, words + cut
    return None


def _candidates(data: Buffer, fields: list[Field], numbers: set[int]) -> Iterator[tuple[str, str]]:
    first = fields[0]
    if first.value is not None:
        graph = any(field.number == _ONNX_GRAPH and field.value is None for field in fields)
        if graph and numbers <= _ONNX_FIELDS and first.value <= _LATEST_IR:
            maker = " ".join(filter(None, (_text(data, fields, 2), _text(data, fields, 3))))
            yield "onnx", f"ONNX, IR version {first.value}" + (f", written by {maker}" if maker else "")
        elif max(numbers) >= _FIRST_COREML_KIND:
            yield "coreml", f"CoreML, specification version {first.value}"
        elif numbers == {1, 2} and _inside(data, fields[1]) in {1, 2}:
            yield "savedmodel", "the graph of a TensorFlow SavedModel"
        return
    inside = next(_fields(data, first.start, first.start + first.length), None)
    if inside is not None and inside.number == 1 and inside.value is not None and numbers <= {1, 4, 5}:
        yield "paddle", "a Paddle program"
    elif inside is not None and inside.number == 1 and inside.length > 0 and numbers <= {1, 2, 3, 4}:
        yield "tensorflow", "a TensorFlow graph"
    elif numbers & {2, _CAFFE_LAYER} and numbers <= {1, 2, 3, 4, 5, 6, 7, 8, _CAFFE_LAYER}:
        yield "caffe", "the weights of a Caffe network"


def _inside(data: Buffer, field: Field) -> int:
    """The number of the first field inside a message, where it is a message or text; else 0."""
    first = next(_fields(data, field.start, field.start + field.length), None)
    return first.number if first is not None and first.value is None else 0


def _text(data: Buffer, fields: list[Field], number: int) -> str:
    for field in fields:
        if field.number == number and field.value is None:
            words = bytes(data[field.start : field.start + min(field.length, 60)]).decode("utf-8", "replace")
            return words if words.isprintable() else ""
    return ""


def _fields(data: Buffer, start: int, end: int) -> Iterator[Field]:
    """The fields between two places; ends at the first byte that cannot be one, without a word."""
    place, end = start, min(end, len(data))
    for _ in range(_MOST_FIELDS):
        tag, place = _varint(data, place, end)
        number, wire = tag >> 3, tag & 7
        if number == 0 or (wire not in _FIXED and wire not in {_NUMBER, _BYTES}):
            return
        value: int | None = None
        length = _FIXED.get(wire, 0)
        if wire == _NUMBER:
            value, place = _varint(data, place, end)
        elif wire == _BYTES:
            length, place = _varint(data, place, end)
        if (value if wire == _NUMBER else length) < 0:  # type: ignore[operator] # one of them is a number
            return
        yield Field(number, value, place, length, max(0, place + length - end))
        place += length
        if place >= end:
            return


def _varint(data: Buffer, place: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it; -1 where there is none."""
    value = 0
    for shift in range(10):
        if place + shift >= end:
            break
        byte = data[place + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
            return value, place + shift + 1
    return -1, place
