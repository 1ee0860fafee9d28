"""Time from the start of the process to the first detection, cold and warm, beside the bare runtime's own.

    python benchmarks/start.py [--model yolox_nano.onnx] [--images DIR] [--rounds 5] [--limit 0.5]

Bare is a script of a few lines that imports cv2 and the runtime, loads the same file, prepares one picture and infers
once. Cold is the daemon with nothing remembered: the golden check runs (and what a runtime caches is made). Warm is its
next start. Ends with 1 when a warm start takes longer than the bare one by more than the limit.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from edge_vision.inference.table import backend

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("EDGE_VISION_SHARED", ROOT.parent / "shared")) / "data"
_BARE_HEAD = """
import sys, cv2, numpy as np
image = cv2.resize(cv2.imread(sys.argv[2]), {wh})
blob = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
"""
_BARE = {
    "onnxruntime": """
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: blob})
""",
    "openvino": """
sys.modules["openvino_telemetry"] = None
import openvino
openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(blob)
""",
    "litert": """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], blob)
interpreter.invoke()
""",
    "opencv_dnn": """
net = cv2.dnn.readNetFromONNX(sys.argv[1])
net.setInput(blob)
net.forward(net.getUnconnectedOutLayersNames())
""",
}


def bundle(folder: Path, model: Path | None) -> tuple[Path, dict[str, Path], Path, tuple[int, int]]:
    """A bundle with golden data, its first file in each format, a folder of pictures, and the size of the input."""
    if model is None and (SHARED / "models/yolox_nano/yolox_nano.onnx").is_file():
        pictures = SHARED / "images/coco_det_ccby"
        target = folder / "yolox_nano"
        target.mkdir()
        names = {"onnx": "yolox_nano.onnx", "tflite": "yolox_nano_float16.tflite"}
        for one in names.values():
            shutil.copyfile(SHARED / "models/yolox_nano" / one, target / one)
        annotations = yaml.safe_load((pictures / "annotations.json").read_text())
        content = {
            "version": 1, "name": "yolox_nano", "task": "detection",
            "files": [
                {"path": names["onnx"], "format": "onnx"},
                {"path": names["tflite"], "format": "tflite", "precision": "f16"},
            ],
            "input": {"size": [416, 416], "color": "bgr", "anchor": "top_left"}, "output": {"format": "yolox"},
            "labels": [one["name"] for one in sorted(annotations["categories"], key=lambda one: one["id"])],
        }  # fmt: skip
        (target / "model.yaml").write_text(yaml.safe_dump(content))
        command = [sys.executable, "-m", "edge_vision", "models", "golden"]
        subprocess.run([*command, str(target), "--images", str(pictures)], check=True, stdout=subprocess.DEVNULL)
        return target, {key: target / one for key, one in names.items()}, pictures, (416, 416)
    target = model or ROOT / "configs/demo/parts"
    content = yaml.safe_load((target / "model.yaml").read_text())
    files = {one["format"]: target / one["path"] for one in reversed(content["files"])}
    return target, files, target / "golden", tuple(content["input"]["size"])


def daemon_s(site: Path, cache: Path) -> float:
    """Seconds from the start of the process to its first line."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    started = time.perf_counter()
    command = [sys.executable, "-m", "edge_vision", "run", str(site)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.perf_counter() - started
        process.stdout.read()
    assert line.startswith(b"{"), "no detection came"
    return took


def bare_s(name: str, weights: Path, picture: Path, wh: tuple[int, int]) -> float:
    """Seconds that the few lines take."""
    code = _BARE_HEAD.replace("{wh}", str(wh)) + _BARE[name]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(weights), str(picture)], check=True)
    return time.perf_counter() - started


def main() -> int:
    """Measure and print; 1 when a warm start is too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a bundle with golden data; default: YOLOX-nano, else the demo's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--limit", type=float, default=0.5, help="seconds that a warm start may take beyond the bare one"
    )
    options = parser.parse_args()
    slow = False
    print(f"{'runtime':<14}{'bare s':>8}{'cold s':>8}{'warm s':>8}{'warm - bare':>13}  (medians of {options.rounds})")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, files, pictures, wh = bundle(folder, options.model)
        picture = next(file for file in sorted(pictures.iterdir()) if file.suffix in {".jpg", ".png"})
        for runtime in _BARE:
            weights = files.get("tflite" if runtime == "litert" else "onnx")
            if weights is None or not backend(runtime).probe().available:
                continue
            site = folder / f"{runtime}.yaml"
            camera = {
                "id": "start", "source": {"kind": "images", "path": str(pictures)}, "pipeline": "object_detection",
                "with": {"model": str(model), "backends": [runtime]},
            }  # fmt: skip
            content = {
                "version": 1, "site": "start", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "-"}],
            }  # fmt: skip
            site.write_text(yaml.safe_dump(content))
            bare, cold, warm = [], [], []
            for number in range(options.rounds):  # side by side: the machine's mood is the same for all three
                cache = folder / f"cache-{runtime}-{number}"
                bare.append(bare_s(runtime, weights, picture, wh))
                cold.append(daemon_s(site, cache))
                warm.append(daemon_s(site, cache))
            beyond = statistics.median(one - other for one, other in zip(warm, bare, strict=True))
            figures = [statistics.median(bare), statistics.median(cold), statistics.median(warm)]
            print(f"{runtime:<14}" + "".join(f"{figure:>8.2f}" for figure in figures) + f"{beyond:>13.2f}", flush=True)
            slow = slow or beyond > options.limit
    return int(slow)


if __name__ == "__main__":
    raise SystemExit(main())
