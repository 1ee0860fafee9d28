"""What decoding costs through PyAV (kind `av`) beside OpenCV (kind `file`), and where the time goes.

Processor time per frame with one decoder thread, the best of several rounds, all taking turns; a clip of 768x432 and
the same at 1080p. With `--limit` the sources may differ by so much, or the exit code is 1.

usage: python benchmarks/av_source.py [--rounds 5] [--limit 1.15] [--clip FILE]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
from pydantic import TypeAdapter

from edge_vision.capture.opening import Opening
from edge_vision.capture.options import SourceOptions
from edge_vision.capture.ring import Ring
from edge_vision.capture.table import open_source
from edge_vision.runtime.clock import SystemClock

CLIP = Path(__file__).resolve().parent.parent.parent / "shared/data/video/one-by-one-person-detection.mp4"
FRAMES = 400
OPTIONS: TypeAdapter[SourceOptions] = TypeAdapter(SourceOptions)


def enlarged(clip: Path, to: Path) -> Path:
    """The first frames of a clip, encoded anew at 1080p."""
    with av.open(str(clip)) as source, av.open(str(to), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"crf": "26", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number, picture in enumerate(source.decode(video=0)):
            if number == FRAMES:
                break
            large = picture.reformat(1920, 1080)
            large.pts, large.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(large))
        target.mux(stream.encode())
    return to


def through(kind: str, clip: Path, ring: Ring | None = None) -> None:
    """Read the frames through a source, as a unit does: each is let go before the next."""
    opening = Opening("bench", SystemClock(), ring=ring)
    with open_source(OPTIONS.validate_python({"kind": kind, "path": clip}), opening) as source:
        for _ in range(FRAMES):
            if source.read() is None:
                break


def bare_decode(clip: Path) -> None:
    """PyAV's decoder without a conversion: the floor."""
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, _ in enumerate(container.decode(video=0), 1):
            if number == FRAMES:
                break


def copied(clip: Path) -> None:
    """PyAV's own conversion, into memory of its own for each picture."""
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, picture in enumerate(container.decode(video=0), 1):
            picture.to_ndarray(format="bgr24")
            if number == FRAMES:
                break


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=0.0)
    parser.add_argument("--clip", type=Path, default=CLIP)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for clip in (options.clip, enlarged(options.clip, Path(folder) / "1080p.mp4")):
            ways: dict[str, Callable[[Path], None]] = {
                "file (OpenCV)": lambda clip: through("file", clip),
                "av": lambda clip: through("av", clip),
                "av, packets kept": lambda clip: through("av", clip, Ring(1 << 28, 10)),
                "PyAV, decoding alone": bare_decode,
                "PyAV, to_ndarray": copied,
            }
            best = dict.fromkeys(ways, float("inf"))
            for _ in range(options.rounds):
                for name, way in ways.items():
                    started = time.process_time()
                    way(clip)
                    best[name] = min(best[name], (time.process_time() - started) / FRAMES * 1e3)
            ratio = best["av"] / best["file (OpenCV)"]
            worst = max(worst, ratio)
            print(clip.name)
            for name, cost_ms in best.items():
                print(f"  {name:<22} {cost_ms:6.2f} ms per frame")
            print(f"  av beside file          {ratio:6.2f}")
    return 1 if options.limit and worst > options.limit else 0


if __name__ == "__main__":
    sys.exit(main())
