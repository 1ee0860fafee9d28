"""How many real codes are read, per folder: the barcode stage beside plain OpenCV. Fails where it reads fewer.

usage: python benchmarks/barcodes.py [--data ../shared/data] [--effort low medium high]
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from edge_vision.analytics.codes import CodeReader, Effort

FOLDERS = {"code128-1": 6, "ean13-1": 16, "multi-1": 10, "qrcode-2": 56}
"""Codes in each folder: one a picture; in multi-1 those of the kinds that are read at all, counted by eye."""
HOLDS: dict[str, dict[str, int]] = {
    "low": {"code128-1": 1, "ean13-1": 9, "multi-1": 6, "qrcode-2": 22},
    "medium": {"code128-1": 6, "ean13-1": 14, "multi-1": 9, "qrcode-2": 35},
    "high": {"code128-1": 6, "ean13-1": 14, "multi-1": 10, "qrcode-2": 44},
}
"""Codes read on OpenCV 4.14: fewer are a fault."""

Read = Callable[[Any], list[str]]


def plain_opencv() -> Read:
    """What people write: `detectAndDecodeMulti` of the QR and the bar code detector, on the picture as it is."""
    qr, bars = cv2.QRCodeDetector(), cv2.barcode.BarcodeDetector()

    def read(gray: Any) -> list[str]:
        texts: list[str] = []
        for detector in (qr, bars):
            try:
                texts += [text for text in detector.detectAndDecodeMulti(gray)[1] if text]
            except (cv2.error, UnicodeDecodeError):  # an encoding that it does not know
                continue
        return texts

    return read


def stage(effort: Effort) -> Read:
    """The reader of the barcode stage."""
    reader = CodeReader(("qr", "ean13", "ean8", "upc_a", "code128"), effort, "4X4_50")
    return lambda gray: [code.text for code in reader(gray)]


def rate(folder: Path, read: Read) -> tuple[int, float]:
    """Codes read of a folder, and milliseconds per picture. Where a text lies beside, only that text counts."""
    right, spent, pictures = 0, 0.0, 0
    for file in sorted(folder.iterdir()):
        if file.suffix == ".txt":
            continue
        gray = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        started = time.perf_counter()
        texts = [text.replace("\r\n", "\n") for text in read(gray)]
        spent += time.perf_counter() - started
        pictures += 1
        beside = file.with_suffix(".txt")
        known = beside.read_bytes().decode("utf-8").replace("\r\n", "\n") if beside.is_file() else None
        right += len(texts) if known is None else known in texts
    return right, spent / pictures * 1e3


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 when a folder is read worse than it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    parser.add_argument("--effort", nargs="+", choices=list(HOLDS), default=list(HOLDS))
    options = parser.parse_args(arguments)
    readers = {"plain cv2": plain_opencv(), **{effort: stage(effort) for effort in options.effort}}
    print(f"{'folder':<12}{'codes':>6}" + "".join(f"{name:>20}" for name in readers))
    worse = 0
    for folder, codes in FOLDERS.items():
        cells = []
        for name, read in readers.items():
            right, spent_ms = rate(options.data / "barcode" / folder, read)
            low = right < HOLDS.get(name, {}).get(folder, 0)
            worse += low
            cells.append(f"{right}{' LOW' if low else ''} ({spent_ms:.0f} ms)")
        print(f"{folder:<12}{codes:>6}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
