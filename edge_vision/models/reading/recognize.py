"""Says what a model file is: by its content where the format shows there, else by its name and its neighbors.

Nothing is executed, unpickled or parsed as a whole; a file may be hostile, truncated, empty or huge.
"""

import mmap
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from edge_vision.core.files import why_not_file, why_not_folder
from edge_vision.models.reading.protobuf import told_by_fields

Part: TypeAlias = Literal["model", "graph", "weights"]
Buffer: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Recognized:
    """What a file is.

    `kind` is a format of `files[].format`, a key of `models.refused.REFUSED`, or "unknown"; `detail` says in a few
    words what it is or why nothing could be made of it. `part` tells a whole model from one of its two files: the
    graph, which names the layers, and the weights, which are useless without it.
    """

    kind: str
    detail: str
    part: Part = "model"


_HEAD: Final = 4096
_MOST_TEXT: Final = 1 << 20
_SEARCHED: Final = 1 << 26
"""Where a word may stand anywhere, it is looked for in so many bytes: a file may have a terabyte of holes."""
_OLDEST_IR: Final = 10

_MAGIC: Final = (
    (0, b"%PDF", "unknown", "a PDF document"),
    (0, b"GGUF", "unknown", "a GGUF language model"),
    (0, b"\x7fELF", "unknown", "a program or library"),
    (0, b"\x1f\x8b", "archive", "compressed with gzip"),
    (0, b"BZh", "archive", "compressed with bzip2"),
    (0, b"\xfd7zXZ", "archive", "compressed with xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "archive", "a 7z archive"),
    (257, b"ustar", "archive", "a tar archive"),
    (0, b"\x89HDF\r\n\x1a\n", "keras", "HDF5, as Keras writes it"),
    (4, b"ET12", "executorch", "an ExecuTorch program"),
    (1, b"trt\0", "tensorrt", "a TensorRT engine"),  # ptrt, ftrt; vtrt by TensorRT-RTX 1.7
)
"""(place, bytes, kind, what it is)"""

_PARTS: Final[tuple[tuple[bytes, str, str, Part], ...]] = (
    (b"7767517\n", "ncnn", "the graph of an ncnn network", "graph"),
    (struct.pack("<I", 7767517), "ncnn", "the graph of an ncnn network, in binary", "graph"),
    (struct.pack("<I", 0x01306B47), "ncnn", "the weights of an ncnn network, in f16", "weights"),
    (struct.pack("<I", 0x000D4B38), "ncnn", "the weights of an ncnn network, in int8", "weights"),
    (struct.pack("<Q", 0x112), "mxnet", "the weights of an MXNet network", "weights"),  # ndarray.cc, its list magic
    # an object, number 1, with a version of three letters
    (struct.pack("<3i", 4, 1, 3) + b"V 1", "torch7", "a Torch7 object", "model"),
)
_TORCH_PICKLE: Final = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
"""The number that torch.save wrote before 1.6."""

_ZIPPED: Final = (
    ("data.pkl", "pytorch", "written by torch.save, without a network that runs by itself"),
    ("serialized_exported_program.json", "torch_export", "a program of torch.export"),
    ("archive_format", "torch_export", "a program of torch.export"),
    ("model.weights.h5", "keras", "Keras 3"),
    ("model.mlmodel", "coreml", "a CoreML package in a zip archive"),
)
"""(file in a zip archive, kind, what it is)"""

_NO_MODEL: Final = (
    (r"version https://git-lfs", "a pointer of Git LFS, not the file itself: fetch it with git lfs pull"),
    (r"<!doctype html|<html", "an HTML page, as a failed download leaves behind"),
)
_GRAPHS: Final = (
    (r"\A(?:\s*[#;].*\n)*\s*\[(?:net|network)\]", "darknet", "the graph of a Darknet network"),
    (r"^\s*layers?\s*\{", "caffe", "the graph of a Caffe network"),
)
"""(pattern, kind, what it is) of networks written as text."""

_BY_NAME: Final[dict[str, tuple[str, str, Part]]] = {
    ".mnn": ("mnn", "MNN by its name; such files have no mark of their own", "model"),
    ".pdiparams": ("paddle", "the weights of a Paddle program, by their name", "weights"),
    ".index": ("tf_checkpoint", "the index of a TensorFlow checkpoint, by its name", "weights"),
    ".meta": ("tf_checkpoint", "the graph of a TensorFlow checkpoint, by its name", "graph"),
    ".ckpt": ("tf_checkpoint", "a TensorFlow checkpoint, by its name", "weights"),
}
"""Formats whose content tells nothing."""

_COMPANIONS: Final = (
    (".bin", ".xml", "openvino", "the weights of an OpenVINO IR; the graph is the .xml beside it"),
    (".bin", ".param", "ncnn", "the weights of an ncnn network; the graph is the .param beside it"),
)


def recognize(path: Path) -> Recognized:
    """What the file or folder is. Never raises for anything that lies there, only says so."""
    if not why_not_folder(path):
        return _folder(path)
    if why := why_not_file(path):
        return Recognized("unknown", why)
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                return Recognized("unknown", "is empty")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return _content(path, mapped)
    except (OSError, ValueError) as error:
        return Recognized("unknown", getattr(error, "strerror", None) or str(error))


def _content(path: Path, mapped: mmap.mmap) -> Recognized:
    head = bytes(mapped[:_HEAD])
    for place, mark, kind, detail in _MAGIC:
        if head[place : place + len(mark)] == mark:
            return Recognized(kind, detail)
    for mark, kind, detail, part in _PARTS:
        if head.startswith(mark):
            return Recognized(kind, detail, part)
    for tell in _TELLERS:
        found = tell(path, head, mapped)
        if found is not None:
            return found
    return _by_name(path, head)


def _marked(path: Path, head: bytes, mapped: mmap.mmap) -> Recognized | None:
    """Formats with a mark of their own that needs a second look."""
    if head[4:8] == b"TFL3":
        edge = _holds(mapped, b"edgetpu-custom-op")
        return Recognized("edgetpu", "TFLite, compiled for the Edge TPU") if edge else Recognized("tflite", "TFLite")
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if head[8:10] == b'{"' and 0 < int.from_bytes(head[:8], "little") < len(mapped):
        return Recognized("safetensors", "safetensors", "weights")
    if path.suffix == ".weights" and _darknet_weights(head):
        return Recognized("darknet", "the weights of a Darknet network", "weights")
    return None


def _holds(mapped: mmap.mmap, word: bytes) -> bool:
    return mapped.find(word, 0, _SEARCHED) >= 0


def _pickled(_path: Path, head: bytes, _mapped: mmap.mmap) -> Recognized | None:
    if head[:1] != b"\x80" or head[1:2] not in {b"\x02", b"\x03", b"\x04", b"\x05"}:  # protocols of pickle
        return None
    if b"torch" in head or head[2:15] == _TORCH_PICKLE:
        return Recognized("pytorch", "a pickle written by PyTorch before 1.6")
    return Recognized("pickle", "a Python pickle")


def _darknet_weights(head: bytes) -> bool:
    """Whether a file begins as Darknet's do: three numbers of its version, then how many pictures it has seen."""
    if len(head) < 16:  # noqa: PLR2004 - the header
        return False
    major, minor, revision = struct.unpack_from("<3i", head)
    return bool(major == 0 and minor in {1, 2} and 0 <= revision < 10)  # noqa: PLR2004


def _zip(path: Path) -> Recognized:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return Recognized("unknown", "a zip archive that is damaged or cut short")
    leaves = {name.rpartition("/")[2] for name in names}
    if {"data.pkl", "constants.pkl"} <= leaves and any("/code/" in f"/{name}" for name in names):
        return Recognized("torchscript", "TorchScript")
    for leaf, kind, detail in _ZIPPED:
        if leaf in leaves:
            return Recognized(kind, detail)
    return Recognized("archive", "a zip archive")


def _text(_path: Path, head: bytes, mapped: mmap.mmap) -> Recognized | None:
    """Formats that are text; every other text is named as what it is, so that nobody takes it for a model."""
    if not _is_text(head):
        return None
    start = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    for pattern, what in _NO_MODEL:
        if re.match(pattern, start, re.IGNORECASE):
            return Recognized("unknown", what)
    if start.startswith(("<", "{")):
        return _xml(start) if start[0] == "<" else _json(mapped)
    text = bytes(mapped[:_MOST_TEXT]).decode("utf-8", "replace")
    for pattern, kind, detail in _GRAPHS:
        if re.search(pattern, text, re.MULTILINE):
            return Recognized(kind, detail, "graph")
    graph = re.search(r"^\s*node\s*\{", text, re.MULTILINE)
    return Recognized("unknown", "a TensorFlow graph written as text" if graph else "text, of no model known here")


def _is_text(head: bytes) -> bool:
    if any(byte < 9 or 13 < byte < 32 for byte in head):  # noqa: PLR2004 - control characters
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a character cut in two by the end of the head
    return True


def _xml(start: str) -> Recognized:
    found = re.search(r"<net\b[^>]*?\bversion=\"(\d+)\"", start)
    if found is None:
        name = re.search(r"<(\w[\w:.-]*)", re.sub(r"<\?.*?\?>|<!--.*?-->", "", start, flags=re.DOTALL))
        return Recognized("unknown", f"XML, of <{name[1]}>" if name else "XML")
    if int(found[1]) < _OLDEST_IR:
        return Recognized("openvino_old", f"OpenVINO IR version {found[1]}", "graph")
    return Recognized("openvino", f"OpenVINO IR version {found[1]}", "graph")


def _json(mapped: mmap.mmap) -> Recognized:
    if _holds(mapped, b'"modelTopology"') or _holds(mapped, b'"weightsManifest"'):
        return Recognized("tfjs", "TensorFlow.js", "graph")
    if _holds(mapped, b'"arg_nodes"') and _holds(mapped, b'"heads"'):
        return Recognized("mxnet", "the graph of an MXNet network", "graph")
    if re.search(rb'"magic"\s*:\s*"pir"', mapped[:_HEAD]):
        return Recognized("paddle_json", "a Paddle 3 program", "graph")
    return Recognized("unknown", "JSON, of no model known here")


def _messages(_path: Path, _head: bytes, mapped: mmap.mmap) -> Recognized | None:
    """Protobuf, which has no mark."""
    with memoryview(mapped) as view:
        told = told_by_fields(view)
    if told is None:
        return None
    kind, detail = told
    part: Part = {"caffe": "weights", "paddle": "graph"}.get(kind, "model")  # type: ignore[assignment]
    return Recognized(kind, detail, part)


def _by_name(path: Path, head: bytes) -> Recognized:
    suffix = path.suffix.lower()
    if suffix.startswith(".data-"):  # .data-00000-of-00001
        return Recognized("tf_checkpoint", "the values of a TensorFlow checkpoint, by its name", "weights")
    if suffix in _BY_NAME:
        kind, detail, part = _BY_NAME[suffix]
        return Recognized(kind, detail, part)
    for own, other, kind, detail in _COMPANIONS:
        if suffix == own and not why_not_file(path.with_suffix(other)):
            return Recognized(kind, detail, "weights")
    if suffix == ".bin":
        return Recognized("unknown", "weights of some network, without the .xml or .param that would name it")
    return Recognized("unknown", f"no model format known here; begins with the bytes {head[:8].hex(' ')}")


def _folder(path: Path) -> Recognized:
    names = {entry.name for entry in path.iterdir()}
    if names & {"saved_model.pb", "saved_model.pbtxt"}:
        return Recognized("savedmodel", "a TensorFlow SavedModel")
    if "Manifest.json" in names and (path / "Data/com.apple.CoreML").is_dir():
        return Recognized("coreml", "a CoreML package")
    if "__model__" in names:
        return Recognized("paddle", "a Paddle program of before 2.0; its file is __model__")
    models = sorted(name for name in names if name.endswith((".pdmodel", ".onnx", ".xml", ".tflite")))
    hint = f"; it holds {', '.join(models[:4])}" if models else ""
    return Recognized("unknown", f"a folder, and not a SavedModel{hint}")


_TELLERS: Final[tuple[Callable[[Path, bytes, mmap.mmap], Recognized | None], ...]] = (
    _marked,
    _pickled,
    _text,
    _messages,
)
