"""Makes model bundles that are wrong, each in one way, from real files where there are any."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper

YOLOX = "models/yolox_nano/yolox_nano.onnx"
IR = "models/ultraface_rfb320/RFB-320_fp32"
TFLITE = "models/yolox_nano/yolox_nano_float16.tflite"
CAFFE = "models/ultraface_rfb320/RFB-320"
DARKNET = "models/yolo_fastest_darknet/yolo-fastest-1.1"
FACES: dict[str, Any] = {
    "input": {"size": [320, 240], "resize": "stretch", "mean": [127, 127, 127], "std": [128, 128, 128]},
    "output": {"format": "scores_boxes"},
    "labels": ["face"],
}
SMALL: dict[str, Any] = {"input": {"size": [64, 64]}, "output": {"format": "yolov8"}, "labels": ["thing"]}


@dataclass(frozen=True, slots=True)
class Case:
    """What makes a wrong bundle, what `models check` says of it, and on which runtimes it is run."""

    make: Callable[["Kitchen"], None]
    words: str
    backends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kitchen:
    """A folder for one bundle, and the real data."""

    folder: Path
    data: Path
    labels: list[str] = field(default_factory=list)

    def read(self, name: str) -> bytes:
        """A real file."""
        return (self.data / name).read_bytes()

    def bundle(self, format_: str = "onnx", path: str = "model.onnx", **changes: Any) -> Path:
        """Write model.yaml around a file that the caller writes; where it goes."""
        entry = {"path": path, "format": format_, **changes.pop("entry", {})}
        content = {
            "version": 1,
            "name": "wrong",
            "task": "detection",
            "files": [entry],
            "input": {"size": [416, 416], "color": "bgr", "anchor": "top_left"},
            "output": {"format": "yolox"},
            "labels": self.labels,
            **changes,
        }
        self.folder.mkdir(parents=True)
        (self.folder / "model.yaml").write_text(yaml.safe_dump(content))
        return self.folder / path

    def raw(self, content: bytes, format_: str = "onnx", path: str = "model.onnx", **changes: Any) -> None:
        """A bundle around these bytes."""
        self.bundle(format_, path, **changes).write_bytes(content)

    def model(self, change: Callable[[Any], None], name: str = YOLOX, **changes: Any) -> None:
        """A bundle around a real ONNX file that was changed."""
        made = onnx.load(self.data / name)
        change(made)
        self.raw(made.SerializeToString(), **changes)

    def graph(self, nodes: list[Any], **changes: Any) -> None:
        """A bundle around a small graph, from images [1, 3, 64, 64] to out."""
        options = {**SMALL, **changes.pop("yaml", {})}
        self.raw(small(nodes, **changes).SerializeToString(), **options)

    def pair(self, stem: str, suffixes: tuple[str, str], format_: str, **changes: Any) -> tuple[Path, Path]:
        """A bundle around a real network of two files."""
        network = self.bundle(format_, f"model{suffixes[0]}", **changes)
        weights = network.with_suffix(suffixes[1])
        for file, suffix in ((network, suffixes[0]), (weights, suffixes[1])):
            shutil.copyfile(self.data / f"{stem}{suffix}", file)
            file.chmod(0o644)
        return network, weights

    def ir(self) -> tuple[Path, Path]:
        """A bundle around a real OpenVINO IR."""
        return self.pair(IR, (".xml", ".bin"), "openvino", **FACES)


def small(
    nodes: list[Any],
    weights: tuple[Any, ...] = (),
    opset: int = 13,
    domains: tuple[str, ...] = (),
    inputs: tuple[Any, ...] = (),
    outputs: tuple[Any, ...] | None = None,
) -> Any:
    """A small ONNX model."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, 64, 64])
    ends = (out,) if outputs is None else outputs
    graph = helper.make_graph(nodes, "small", list(inputs or (images,)), list(ends), list(weights))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def node(operator: str, *ends: str, **attributes: Any) -> Any:
    """A node from the first names to the last."""
    return helper.make_node(operator, list(ends[:-1]), [ends[-1]], name=f"the_{operator.lower()}", **attributes)


def flipped(content: bytes, places: slice, seed: int) -> bytes:
    """Every eighth byte of a part, with all its bits flipped in an order that the seed decides."""
    made = np.frombuffer(content, np.uint8).copy()
    part = made[places]
    chosen = np.random.default_rng(seed).random(len(part)) < 1 / 8
    part[chosen] ^= 0xFF
    return bytes(made.tobytes())


def without_values(model: Any) -> None:
    """Weights that are not numbers."""
    tensor = next(one for one in model.graph.initializer if len(one.dims) == 4)
    tensor.raw_data = np.full(list(tensor.dims), np.nan, np.float32).tobytes()


def claims_much(model: Any) -> None:
    """A tensor that claims more bytes than there are anywhere."""
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]


def external(location: str) -> Callable[[Any], None]:
    """Weights that lie elsewhere."""

    def change(model: Any) -> None:
        tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)

    return change


def _older(kitchen: Kitchen) -> None:
    network, _ = kitchen.ir()
    network.write_text(network.read_text().replace('version="11"', 'version="7"', 1))


def _cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def _huge_output(kitchen: Kitchen) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1 << 20, 1 << 20])
    kitchen.graph(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["big"], name="the_big"),
            node("ReduceMax", "big", "one", keepdims=0),
            node("Add", "images", "one", "out"),
        ],
        weights=(shape,),
    )


def _shapes(kitchen: Kitchen) -> None:
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [8, 5, 3, 3], np.zeros(360).tolist())
    kitchen.graph([node("Conv", "images", "kernel", "out")], weights=(kernel,))


def _two_inputs(kitchen: Kitchen) -> None:
    inputs = tuple(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 64, 64]) for name in ("a", "b"))
    kitchen.graph([node("Add", "a", "b", "out")], inputs=inputs)


def _integers(kitchen: Kitchen) -> None:
    images = helper.make_tensor_value_info("images", TensorProto.INT64, [1, 3, 64, 64])
    kitchen.graph([node("Cast", "images", "out", to=TensorProto.FLOAT)], inputs=(images,))


def _global_pool_3d(kitchen: Kitchen) -> None:
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1, 1, 1, 1])
    nodes = [node("Unsqueeze", "images", "axes", "deep"), node("GlobalAveragePool", "deep", "out")]
    kitchen.graph(nodes, weights=(axes,), outputs=(out,))


def endless() -> Any:
    """A model whose loop takes longer than anybody waits."""
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 3, 64, 64])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sigmoid", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            state,
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 3, 64, 64]),
        ],
    )
    rounds = helper.make_tensor("rounds", TensorProto.INT64, [], [1 << 62])
    begin = helper.make_tensor("begin", TensorProto.BOOL, [], [True])
    return small([helper.make_node("Loop", ["rounds", "begin", "images"], ["out"], body=body)], (rounds, begin))


def _crashes_opencv(kitchen: Kitchen) -> None:
    name = "models/reid_0288/person-reidentification-retail-0288.onnx"
    kitchen.raw(kitchen.read(name), **{**SMALL, "input": {"size": [128, 256], "layout": "nhwc"}})


def _loop_of_links(kitchen: Kitchen) -> None:
    file = kitchen.bundle()
    file.symlink_to(file.name)


def _absent(kitchen: Kitchen) -> None:
    kitchen.bundle()


def _unreadable(kitchen: Kitchen) -> None:
    file = kitchen.bundle()
    file.write_bytes(kitchen.read(YOLOX))
    file.chmod(0)


_ADD = node("Add", "images", "b", "a")
_CIRCLE = [_ADD, node("Relu", "a", "b"), node("Sigmoid", "b", "out")]
_STRANGE = [node("Relu", "images", "r"), node("Frobnicate", "r", "out")]
_CUSTOM = [node("Relu", "images", "r"), node("Frobnicate", "r", "out", domain="com.acme")]
_OF_FIXED_SIZE = ("openvino", "onnxruntime")
_ELSEWHERE = "../../../etc/hostname"

CASES: dict[str, Case] = {
    "onnx_empty": Case(lambda it: it.raw(b""), "is empty"),
    "onnx_garbage": Case(lambda it: it.raw(np.random.default_rng(1).bytes(4096)), "is no ONNX model"),
    "onnx_zeros": Case(lambda it: it.raw(bytes(100_000)), "is no ONNX model"),
    "onnx_one_byte": Case(lambda it: it.raw(b"\x08"), "is no ONNX model"),
    "onnx_cut_at_100": Case(lambda it: it.raw(it.read(YOLOX)[:100]), "truncated"),
    "onnx_cut_at_half": Case(lambda it: it.raw(it.read(YOLOX)[: 1 << 20]), "truncated"),
    "onnx_cut_by_a_byte": Case(lambda it: it.raw(it.read(YOLOX)[:-1]), "truncated"),
    "onnx_flipped_head": Case(lambda it: it.raw(flipped(it.read(YOLOX), slice(0, 400), 3)), "is no ONNX model"),
    "onnx_is_text": Case(lambda it: it.raw(b"This was a model once.\n"), "is no ONNX model"),
    "onnx_is_html": Case(lambda it: it.raw(b"<!DOCTYPE html><html><body>404 Not Found</body></html>"), "an HTML page"),
    "onnx_is_lfs_pointer": Case(
        lambda it: it.raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "git lfs pull"
    ),
    "onnx_is_tflite": Case(lambda it: it.raw(it.read(TFLITE)), "is TFLite by its content, not onnx"),
    "onnx_is_pytorch": Case(lambda it: it.raw(it.read("models/fastestdet/FastestDet.pth")), "torch.onnx.export"),
    "onnx_is_ncnn": Case(lambda it: it.raw(it.read("models/fastestdet/FastestDet.param")), "export ONNX"),
    "tflite_is_onnx": Case(lambda it: it.raw(it.read(YOLOX), "tflite", "model.tflite"), "by its content, not tflite"),
    "wrong_sha256": Case(lambda it: it.raw(it.read(YOLOX), entry={"sha256": "0" * 64}), "not the one written here"),
    "old_operators_only": Case(
        lambda it: it.graph([node("Trilu", "images", "out")], opset=9), "the_trilu (Trilu)", ("onnxruntime",)
    ),
    "opset_99": Case(lambda it: it.graph([node("Relu", "images", "out")], opset=99), "opset 99", ("onnxruntime",)),
    "unknown_operator": Case(lambda it: it.graph(_STRANGE), "the_frobnicate (Frobnicate)"),
    "custom_domain": Case(lambda it: it.graph(_CUSTOM, domains=("com.acme",)), "com.acme"),
    "circle": Case(lambda it: it.graph(_CIRCLE), "wait for each other in a circle"),
    "dangling": Case(lambda it: it.graph([node("Add", "images", "nowhere", "out")]), "nowhere that nothing makes"),
    "no_outputs": Case(lambda it: it.graph([node("Relu", "images", "out")], outputs=()), "has no output"),
    "two_inputs": Case(_two_inputs, "has 2 inputs"),
    "integers_in": Case(_integers, "int64"),
    "shapes_do_not_fit": Case(_shapes, "the_conv (Conv)"),
    "huge_initializer": Case(lambda it: it.model(claims_much), "claims [1099511627776, 1048576]"),
    "huge_tensor_made": Case(_huge_output, "the_big (ConstantOfShape)"),
    "not_numbers": Case(lambda it: it.model(without_values), "NaN", ("openvino", "onnxruntime")),
    "external_missing": Case(lambda it: it.model(external("weights.dat")), "weights.dat are missing"),
    "external_elsewhere": Case(lambda it: it.model(external(_ELSEWHERE)), "outside its folder"),
    "global_pool_3d": Case(_global_pool_3d, "the_globalaveragepool (GlobalAveragePool)", ("opencv_dnn",)),
    "crashes_opencv": Case(_crashes_opencv, "crashed (SIGSEGV)", ("opencv_dnn",)),
    "labels_too_few": Case(lambda it: it.raw(it.read(YOLOX), labels=it.labels[:79]), "and 79 labels"),
    "another_size": Case(
        lambda it: it.raw(it.read(YOLOX), input={"size": [640, 640]}), "model.yaml says", _OF_FIXED_SIZE
    ),
    "output_absent": Case(
        lambda it: it.raw(it.read(YOLOX), output={"format": "yolox", "output": "boxes"}), "no output 'boxes'"
    ),
    "ir_without_weights": Case(lambda it: it.ir()[1].unlink(), "the weights beside the .xml are missing"),
    "ir_weights_cut": Case(lambda it: _cut(it.ir()[1], 0.5), "which holds 600880"),
    "ir_weights_empty": Case(lambda it: _cut(it.ir()[1], 0), "which holds 0"),
    "ir_version_7": Case(_older, "version 7"),
    "ir_cut": Case(lambda it: _cut(it.ir()[0], 0.6), "is no OpenVINO IR"),
    "tflite_cut": Case(lambda it: it.raw(it.read(TFLITE)[:200_000], "tflite", "model.tflite"), "LiteRT cannot read it"),
    "tflite_garbage": Case(
        lambda it: it.raw(b"\x1c\0\0\0TFL3" + np.random.default_rng(2).bytes(5000), "tflite", "model.tflite"),
        "LiteRT cannot read it",
    ),
    "tflite_flipped": Case(
        lambda it: it.raw(flipped(it.read(TFLITE), slice(-60_000, None), 5), "tflite", "model.tflite"), "model.tflite"
    ),
    "caffe_without_weights": Case(
        lambda it: it.pair(CAFFE, (".prototxt", ".caffemodel"), "caffe", **FACES)[1].unlink(), "are missing"
    ),
    "caffe_weights_cut": Case(
        lambda it: _cut(it.pair(CAFFE, (".prototxt", ".caffemodel"), "caffe", **FACES)[1], 0.4), "model.prototxt"
    ),
    "darknet_weights_cut": Case(
        lambda it: _cut(it.pair(DARKNET, (".cfg", ".weights"), "darknet", **FACES)[1], 0.4), "model.cfg"
    ),
    "a_folder": Case(lambda it: it.bundle().mkdir(), "is not a file"),
    "a_pipe": Case(lambda it: os.mkfifo(it.bundle()), "is not a file"),
    "a_link_to_itself": Case(_loop_of_links, "symbolic links"),
    "a_link_to_nothing": Case(lambda it: it.bundle().symlink_to("absent.onnx"), "no such file"),
    "absent": Case(_absent, "no such file"),
}
"""By name; those that only some runtimes refuse are run on these alone."""
if os.geteuid():  # root reads everything
    CASES["unreadable"] = Case(_unreadable, "Permission denied")
