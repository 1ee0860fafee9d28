"""What a model file is, is told by its content: of real files, of made ones, and of files that lie."""

import io
import json
import pickle
import random
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_vision.models.reading.recognize import recognize
from edge_vision.models.reading.refused import REFUSED, refusal

REAL = {
    "deeplab_dm05_tflite/deeplabv3_mnv2_dm05_pascal_quant.tflite": "tflite",
    "deeplab_dm05_tflite/pascal_voc_segmentation_labels.txt": "unknown",
    "fastestdet/FastestDet.bin": "ncnn weights",
    "fastestdet/FastestDet.onnx": "onnx",
    "fastestdet/FastestDet.param": "ncnn graph",
    "fastestdet/FastestDet.pth": "pytorch",
    "fastestdet/coco.names": "unknown",
    "lprnet/Final_LPRNet_model.pth": "pytorch",
    "lprnet/chars.txt": "unknown",
    "lprnet/lprnet.onnx": "onnx",
    "lprnet/lprnet_fp32.bin": "openvino weights",
    "lprnet/lprnet_fp32.xml": "openvino graph",
    "mobilenet_v1_025_128/imagenet_labels.txt": "unknown",
    "mobilenet_v1_025_128/mobilenet_v1_0.25_128_quant.tflite": "tflite",
    "nanodet_m_320/nanodet_m_320.onnx": "onnx",
    "pedestrian_adas_0002_ir/pedestrian-detection-adas-0002.bin": "openvino weights",
    "pedestrian_adas_0002_ir/pedestrian-detection-adas-0002.xml": "openvino graph",
    "plate_color_cls/litemodel_cls_96x_r1.onnx": "onnx",
    "plate_y5fu_320/y5fu_320x_sim.onnx": "onnx",
    "ppocr_mobile_v2/ch_ppocr_mobile_v2.0_cls_infer.onnx": "onnx",
    "ppocr_mobile_v2/ch_ppocr_mobile_v2.0_det_infer.onnx": "onnx",
    "ppocr_mobile_v2/en_dict.txt": "unknown",
    "ppocr_mobile_v2/en_number_mobile_v2.0_rec_infer.onnx": "onnx",
    "reid_0288/person-reidentification-retail-0288.onnx": "onnx",
    "road_seg_adas_0001/road-segmentation-adas-0001.onnx": "onnx",
    "ultraface_rfb320/RFB-320.bin": "ncnn weights",
    "ultraface_rfb320/RFB-320.caffemodel": "caffe weights",
    "ultraface_rfb320/RFB-320.mnn": "mnn",
    "ultraface_rfb320/RFB-320.param": "ncnn graph",
    "ultraface_rfb320/RFB-320.prototxt": "caffe graph",
    "ultraface_rfb320/RFB-320_fp32.bin": "openvino weights",
    "ultraface_rfb320/RFB-320_fp32.xml": "openvino graph",
    "ultraface_rfb320/version-RFB-320.onnx": "onnx",
    "ultraface_rfb320/version-RFB-320_without_postprocessing.onnx": "onnx",
    "ultraface_rfb320/version-RFB-320_without_postprocessing.tflite": "tflite",
    "vehicle_lpd_0106_ir_int8/vehicle-license-plate-detection-barrier-0106.bin": "openvino weights",
    "vehicle_lpd_0106_ir_int8/vehicle-license-plate-detection-barrier-0106.xml": "openvino graph",
    "vww_person_96/vww_96_float.tflite": "tflite",
    "vww_person_96/vww_96_int8.tflite": "tflite",
    "wechat_qr_caffe/detect.caffemodel": "caffe weights",
    "wechat_qr_caffe/detect.prototxt": "caffe graph",
    "yolo_fastest_darknet/yolo-fastest-1.1.cfg": "darknet graph",
    "yolo_fastest_darknet/yolo-fastest-1.1.weights": "darknet weights",
    "yolox_nano/yolox_nano.onnx": "onnx",
    "yolox_nano/yolox_nano_dynrange.tflite": "tflite",
    "yolox_nano/yolox_nano_float16.tflite": "tflite",
    "yolox_nano/yolox_nano_fp32.bin": "openvino weights",
    "yolox_nano/yolox_nano_fp32.xml": "openvino graph",
    "yunet_120x160/face_detection_yunet_120x160.onnx": "onnx",
}
BY_NAME = {".mnn"}
"""Formats without a mark: the name decides. The weights of IR, of ncnn and of Darknet need name or neighbor too."""


def _told(path: Path) -> str:
    found = recognize(path)
    return found.kind if found.part == "model" else f"{found.kind} {found.part}"


def test_every_real_file_is_told(data: Path) -> None:
    """All files of the collection, the texts beside the models included; none is forgotten here."""
    folder = data / "models"
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    assert {name: _told(file) for name, file in files.items()} == REAL


def test_a_real_file_under_a_wrong_name_is_told_all_the_same(data: Path, tmp_path: Path) -> None:
    """The content decides wherever it can: every whole model and every graph, but for MNN."""
    for number, (name, kind) in enumerate(REAL.items()):
        if kind == "unknown" or kind.endswith("weights") or Path(name).suffix in BY_NAME:
            continue
        other = tmp_path / f"{number}.{'tflite' if kind == 'onnx' else 'onnx'}"
        other.symlink_to(data / "models" / name)
        assert _told(other) == kind, name


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _varint(value >> 7)


def _zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


_NODE = _field(1, b"input") + _field(2, b"Placeholder")
_BLOCK = _field(1, 0) + _field(2, 0) + _field(3, b"var")

MADE: dict[str, tuple[str, bytes, str]] = {
    "onnx": ("a.onnx", _field(1, 8) + _field(2, b"me") + _field(7, b"graph") + _field(8, b"\x10\x0d"), "onnx"),
    "onnx cut short": ("a.onnx", _field(1, 8) + _field(7, b"g" * 500)[:-100], "onnx"),
    "coreml": ("a.mlmodel", _field(1, 4) + _field(2, b"\x0a\x00") + _field(500, b"network"), "coreml"),
    "tf graph": ("a.pb", _field(1, _NODE) * 3 + _field(4, b"\x08\x1b"), "tensorflow"),
    "saved model": ("saved_model.pb", _field(1, 1) + _field(2, _field(1, b"info")), "savedmodel"),
    "paddle": ("a.pdmodel", _field(1, _BLOCK) + _field(4, b"\x08\x00"), "paddle graph"),
    "paddle weights": ("a.pdiparams", bytes(64), "paddle weights"),
    "paddle 3": ("a.json", b'{"base_code": {"magic": "pir", "version": 1}, "program": {}}', "paddle_json graph"),
    "caffe 1": ("a.caffemodel", _field(1, b"net") + _field(2, b"\x0a\x04data"), "caffe weights"),
    "old prototxt": ("a.prototxt", b'name: "net"\nlayers {\n  type: CONVOLUTION\n}\n', "caffe graph"),
    "tflite": ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(64), "tflite"),
    "edge tpu": ("a_edgetpu.tflite", b"\x1c\0\0\0TFL3" + bytes(64) + b"edgetpu-custom-op", "edgetpu"),
    "edge tpu renamed": ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(9000) + b"edgetpu-custom-op", "edgetpu"),
    "old ir": ("a.xml", b'<?xml version="1.0"?>\n<net name="n" version="7" batch="1">', "openvino_old graph"),
    "ir": ("a.xml", b'<?xml version="1.0"?>\n<net name="n" version="11">', "openvino graph"),
    "torchscript": ("a.pt", _zipped("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"), "torchscript"),
    "checkpoint": ("a.pt", _zipped("m/data.pkl", "m/data/0"), "pytorch"),
    "torch.export": ("a.pt2", _zipped("m/archive_format", "m/models/model.json"), "torch_export"),
    "executorch": ("a.pte", b"\x1c\0\0\0ET12" + bytes(8), "executorch"),
    "pickle": ("a.pkl", pickle.dumps({"a": 1}), "pickle"),
    "keras 3": ("a.keras", _zipped("config.json", "metadata.json", "model.weights.h5"), "keras"),
    "hdf5": ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), "keras"),
    "tfjs": ("model.json", json.dumps({"format": "graph-model", "modelTopology": {}}).encode(), "tfjs graph"),
    "mxnet": ("a-symbol.json", b'{"nodes": [], "arg_nodes": [0], "heads": [[1, 0, 0]]}', "mxnet graph"),
    "mxnet weights": ("a.params", struct.pack("<QQ", 0x112, 0) + bytes(40), "mxnet weights"),
    "torch7": ("a.t7", struct.pack("<4i", 4, 1, 3, 13) + b"nn.Sequential", "unknown"),
    "torch7 object": (
        "a.t7",
        struct.pack("<3i", 4, 1, 3) + b"V 1" + struct.pack("<i", 13) + b"nn.Sequential",
        "torch7",
    ),
    "ncnn binary": ("a.param.bin", struct.pack("<I", 7767517) + bytes(20), "ncnn graph"),
    "darknet": ("a.cfg", b"# made by me\n\n[net]\nwidth=320\n", "darknet graph"),
    "darknet weights": ("a.weights", struct.pack("<3iq", 0, 2, 5, 32) + bytes(40), "darknet weights"),
    "engine": ("a.engine", b"ftrt\0\0\0\0" + bytes(40), "tensorrt"),
    "safetensors": ("a.safetensors", struct.pack("<Q", 10) + b'{"a": {}  }' + bytes(8), "safetensors weights"),
    "checkpoint of tf": ("a.ckpt", b"\x00\xff" + bytes(30), "tf_checkpoint weights"),
    "values of tf": ("variables.data-00000-of-00001", b"\x00\xff" + bytes(30), "tf_checkpoint weights"),
    "gzip": ("a.tar.gz", b"\x1f\x8b\x08" + bytes(30), "archive"),
    "zip": ("a.zip", _zipped("readme.txt"), "archive"),
    # what is none
    "fingerprint": ("fingerprint.pb", _field(1, 1 << 60) + _field(2, 5) + _field(7, b"a"), "unknown"),
    "empty": ("a.onnx", b"", "unknown"),
    "zeros": ("a.onnx", bytes(1000), "unknown"),
    "a lonely .bin": ("a.bin", bytes(1000), "unknown"),
    "blank lines": ("a.onnx", b"\n" * 5000, "unknown"),
    "a page": ("a.onnx", b"<!DOCTYPE html><html>404</html>", "unknown"),
    "a pointer": ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "unknown"),
    "other XML": ("a.xml", b"<?xml version='1.0'?><!-- c --><opencv_storage></opencv_storage>", "unknown"),
    "other JSON": ("a.json", b'{"a": 1}', "unknown"),
    "a cut zip": ("a.pt", _zipped("m/data.pkl", "m/constants.pkl", "m/code/a.py")[:-30], "unknown"),
    "graph as text": ("a.pbtxt", b'node {\n  name: "a"\n}\n', "unknown"),
}


@pytest.mark.parametrize("case", MADE)
def test_a_made_file_is_told(case: str, tmp_path: Path) -> None:
    """Tiny files with the marks of their formats, and files that are no model."""
    name, content, kind = MADE[case]
    path = tmp_path / name
    path.write_bytes(content)
    assert _told(path) == kind, recognize(path)


@pytest.mark.parametrize(
    "case, word",
    [
        ("onnx cut short", "100 bytes are missing"),
        ("onnx", "IR version 8, written by me"),
        ("old ir", "version 7"),
        ("empty", "is empty"),
        ("a page", "HTML"),
        ("a pointer", "git lfs pull"),
        ("other XML", "<opencv_storage>"),
        ("a cut zip", "damaged or cut short"),
        ("zeros", "00 00 00"),
        ("a lonely .bin", ".xml or .param"),
    ],
)
def test_the_detail_says_what_gave_it_away(case: str, word: str, tmp_path: Path) -> None:
    """Whoever reads it knows what to look at."""
    name, content, _ = MADE[case]
    path = tmp_path / name
    path.write_bytes(content)
    assert word in recognize(path).detail


def _saved_model(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"x")
    (folder / "variables").mkdir()


def _mlpackage(folder: Path) -> None:
    (folder / "Manifest.json").write_text("{}")
    (folder / "Data/com.apple.CoreML").mkdir(parents=True)


def _two_models(folder: Path) -> None:
    (folder / "a.onnx").touch()
    (folder / "a.xml").touch()


@pytest.mark.parametrize(
    "fill, kind, word",
    [
        (_saved_model, "savedmodel", "SavedModel"),
        (_mlpackage, "coreml", "CoreML"),
        (_two_models, "unknown", "a.onnx, a.xml"),
        (lambda _: None, "unknown", "a folder"),
    ],
    ids=["saved model", "mlpackage", "models", "empty"],
)
def test_a_folder_is_told_by_what_is_in_it(fill: Callable[[Path], None], kind: str, word: str, tmp_path: Path) -> None:
    """A SavedModel and a CoreML package are folders; of any other the models in it are named."""
    fill(tmp_path)
    found = recognize(tmp_path)
    assert (found.kind, word in found.detail) == (kind, True)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """No exception for a path that leads nowhere."""
    assert recognize(tmp_path / "none.onnx").detail == "no such file"


@pytest.mark.parametrize("start", [b"\x1c\0\0\0TFL3", b'{"a": 1}', b"\x08\x07\x3a\x05graph", b"", b"layer {\n}\n"])
def test_a_huge_file_is_told_in_no_time(start: bytes, tmp_path: Path) -> None:
    """A file of a terabyte, all holes behind its beginning, is not read as a whole."""
    path = tmp_path / "huge.onnx"
    with path.open("wb") as stream:
        stream.write(start)
        try:
            stream.truncate(1 << 40)
        except OSError as error:
            pytest.skip(f"no sparse files here: {error}")
    began = time.monotonic()
    recognize(path)
    assert time.monotonic() - began < 20


def test_garbage_and_every_cut_of_a_real_file_end_in_an_answer(data: Path, tmp_path: Path) -> None:
    """Whatever the bytes are, no exception; and the beginning of a model is never taken for another format."""
    random_bytes = random.Random(3)
    path = tmp_path / "file"
    for _ in range(300):
        path.write_bytes(random_bytes.randbytes(random_bytes.randrange(1, 200)))
        recognize(path)
    for name, kind in REAL.items():
        whole = (data / "models" / name).read_bytes()
        for length in (1, 2, 5, 9, 17, 40, 200, 3000, len(whole) - 1):
            path.write_bytes(whole[:length])
            vague = {"pickle"} if kind == "pytorch" else set()  # two bytes of a pickle do not tell whose it is
            assert _told(path) in {kind, "unknown", *vague}, (name, length)


def test_every_refusal_is_a_kind_and_says_what_to_do() -> None:
    """Names in the table are those that `recognize` gives, or that its part of the table holds."""
    told = {kind.split()[0] for _, _, kind in MADE.values()} | {kind.split()[0] for kind in REAL.values()}
    assert set(REFUSED) <= told
    for name, row in REFUSED.items():
        assert row.title, name
        assert len(row.reason) > 15, name
        assert any(word in row.remedy for word in ("export", "convert", "take", "unpack")), name


@pytest.mark.parametrize(
    "word, name", [("NCNN", "ncnn"), (".pth", "pytorch"), ("tf.js", "tfjs"), ("Edge-TPU", "edgetpu"), ("onnx", None)]
)
def test_a_refusal_is_found_by_what_people_write(word: str, name: str | None) -> None:
    """Case and a leading dot do not matter; a format that is taken has none."""
    assert refusal(word) is (REFUSED[name] if name else None)
