"""Finds and reads the codes in a picture: QR, EAN, UPC, Code 128 and ArUco markers; OpenCV's readers and our own lines.

What is not read as it is, is tried again otherwise: enlarged, inverted, with more contrast, its gaps closed. Each such
try is a rung of a ladder; `effort` says how many rungs there are. What is laid out anew never has more than `_MOST_PX`
pixels, so that a frame has a dearest case, and what is read does not depend on how busy the machine is.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_vision.analytics.linear import Strip, gs1_digits_fit, read_rows
from edge_vision.core.plugin import require

CodeKind: TypeAlias = Literal["qr", "ean13", "ean8", "upc_a", "code128", "aruco"]
Effort: TypeAlias = Literal["low", "medium", "high"]
Gray: TypeAlias = NDArray[np.uint8]
ArucoDictionary: TypeAlias = Literal[
    "4X4_50", "4X4_100", "4X4_250", "4X4_1000", "5X5_50", "5X5_100", "5X5_250", "5X5_1000",
    "6X6_50", "6X6_100", "6X6_250", "6X6_1000", "7X7_50", "7X7_100", "7X7_250", "7X7_1000",
    "ARUCO_ORIGINAL", "ARUCO_MIP_36h12", "APRILTAG_16h5", "APRILTAG_25h9", "APRILTAG_36h10", "APRILTAG_36h11",
]  # fmt: skip

_MOST_PX: Final = 1_500_000
"""Pixels that a picture is laid out on, at most: a larger one is enlarged less, or made smaller."""
_LEAST_PX: Final = 8
"""A picture with a shorter side holds no code; OpenCV's readers fail on some of that size."""
_LINEAR: Final = ("ean13", "ean8", "upc_a", "code128")
_OPENCV_KINDS: Final = {"EAN_13": "ean13", "EAN_8": "ean8", "UPC_A": "upc_a"}


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A code that was read: its kind, what it says, and its corners (4, 2) in pixels, float32."""

    kind: str
    text: str
    quad: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Rung:
    """One way to look: a paper margin around (of the shorter side), enlarged so much, and then made otherwise."""

    scale: float
    change: Callable[[Any, Gray], Gray]
    classic: bool
    """Whether it is shown to OpenCV's first QR reader; else to the one that looks for patterns as for ArUco."""
    smooth: bool = True
    margin: float = 0.15


def _as_it_is(cv2: Any, gray: Gray) -> Gray:
    del cv2
    return gray


def _opened(cv2: Any, gray: Gray) -> Gray:
    return np.asarray(cv2.morphologyEx(gray, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))


def _closed(cv2: Any, gray: Gray) -> Gray:
    return np.asarray(cv2.morphologyEx(gray, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))


def _inverted(cv2: Any, gray: Gray) -> Gray:
    return np.asarray(cv2.bitwise_not(gray))


def _contrasted(cv2: Any, gray: Gray) -> Gray:
    return np.asarray(cv2.createCLAHE(3.0, (4, 4)).apply(gray))


def _blotted(cv2: Any, gray: Gray) -> Gray:
    """Blurred and cut at Otsu's threshold: dots become areas."""
    return np.asarray(cv2.threshold(cv2.GaussianBlur(gray, (0, 0), 3.0), 0, 255, cv2.THRESH_OTSU)[1])


_RUNGS: Final[dict[Effort, tuple[_Rung, ...]]] = {
    "low": (_Rung(1, _as_it_is, classic=False, margin=0),),
    "medium": (
        _Rung(1, _as_it_is, classic=False, margin=0),
        _Rung(1, _as_it_is, classic=True, margin=0),
        _Rung(2, _opened, classic=False),
        _Rung(1, _inverted, classic=False),
    ),
    "high": (
        _Rung(1, _as_it_is, classic=False, margin=0),
        _Rung(1, _as_it_is, classic=True, margin=0),
        _Rung(2, _opened, classic=False),
        _Rung(1, _inverted, classic=False),
        _Rung(1, _inverted, classic=True),
        _Rung(2, _inverted, classic=False),
        _Rung(1, _contrasted, classic=True, margin=0),
        _Rung(2, _closed, classic=True),
        _Rung(3, _as_it_is, classic=False),
        _Rung(4, _as_it_is, classic=True, smooth=False),
        _Rung(4, _as_it_is, classic=False),
        _Rung(3, _blotted, classic=True),
        _Rung(3, _blotted, classic=False),
    ),
}
"""What helps on real pictures, most helpful first; benchmarks/barcodes.py has the rates."""


class CodeReader:
    """Reads codes of the kinds chosen; used by one thread."""

    def __init__(self, kinds: Iterable[CodeKind], effort: Effort, dictionary: ArucoDictionary) -> None:
        self._cv2: Any = require("cv2", "cpu")
        cv2 = self._cv2
        self._kinds = frozenset(kinds)
        self._effort = effort
        self._qr = {True: cv2.QRCodeDetector(), False: cv2.QRCodeDetectorAruco()}
        self._bars: Any = cv2.barcode.BarcodeDetector()
        self._markers: Any = cv2.aruco.ArucoDetector(
            cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{dictionary}"))
        )

    def __call__(self, gray: Gray, turn: int | None = None) -> list[Code]:
        """Every code in a gray picture (height, width), each once; with a `turn`, by the first rung and one other."""
        if min(gray.shape) < _LEAST_PX:
            return []
        codes: list[Code] = []
        if "qr" in self._kinds:
            codes += self._read_qr(gray, turn)
        if not self._kinds.isdisjoint(_LINEAR):
            codes += self._read_bars(gray, turn)
        if "aruco" in self._kinds:
            corners, ids, _ = self._markers.detectMarkers(gray)
            numbers = () if ids is None else ids.ravel().tolist()
            codes += [Code("aruco", str(number), quad[0]) for quad, number in zip(corners, numbers, strict=True)]
        return codes

    def _read_qr(self, gray: Gray, turn: int | None) -> list[Code]:
        """Up the ladder, until everything that was located has been read; with much effort to its end."""
        found: list[Code] = []
        first, *others = _RUNGS[self._effort]
        if turn is not None and others:
            others = [others[turn % len(others)]]
        for rung in (first, *others):
            picture, scale, margin = self._laid_out(gray, rung)
            try:
                _, payloads, points, _ = self._qr[rung.classic].detectAndDecodeBytesMulti(picture)
            except self._cv2.error:  # a code whose encoding OpenCV does not know
                continue
            quads = np.asarray(() if points is None else points, np.float32).reshape(-1, 4, 2) / scale - margin
            for payload, quad in zip(payloads, quads, strict=False):
                if payload:
                    added(found, Code("qr", qr_text(payload), quad))
            if found and all(payloads) and self._effort != "high":  # a code beside it may not have been located yet
                break
        return found

    def _laid_out(self, gray: Gray, rung: _Rung) -> tuple[Gray, float, float]:
        """The picture as a rung looks at it, how often it was enlarged, and the margin, in pixels of `gray`."""
        cv2, margin = self._cv2, 0
        picture = rung.change(cv2, gray) if rung.scale == 1 else gray
        if rung.margin:
            margin = int(max(16, rung.margin * min(gray.shape)))
            paper = 255 if rung.change is not _inverted else int(np.median(picture)) if rung.scale == 1 else 0
            edges = (margin, margin, margin, margin)
            picture = cv2.copyMakeBorder(picture, *edges, cv2.BORDER_CONSTANT, value=paper)
        scale = min(rung.scale, (_MOST_PX / picture.size) ** 0.5) if rung.margin else 1.0
        if scale != 1:
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC if rung.smooth else cv2.INTER_NEAREST
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=way)
        if rung.scale > 1:
            picture = rung.change(cv2, picture)
        return picture, scale, margin

    def _read_bars(self, gray: Gray, turn: int | None) -> list[Code]:
        """OpenCV's reader, lines through what it located, and lines through the whole picture."""
        cv2 = self._cv2
        found: list[Code] = []
        _, texts, kinds, points = self._bars.detectAndDecodeWithType(gray)
        quads = np.asarray(() if points is None else points, np.float32).reshape(-1, 4, 2)
        for quad, text, name in zip(quads, texts, kinds, strict=False):
            kind = _OPENCV_KINDS.get(name)
            if kind is not None and text:
                self._keep(found, kind, text, np.roll(quad, -1, axis=0))  # OpenCV begins at the bottom left
        open_quads = [quad for quad in quads if not any(_same_place(code.quad, quad) for code in found)]
        for quad in open_quads:
            for kind, text, where in self._along(gray, quad):
                self._keep(found, kind, text, where)
        if self._effort == "low" or (found and len(found) >= len(quads)):
            return found
        for turned in (False, True) if turn is None else (turn % 2 == 1,):
            picture = np.ascontiguousarray(cv2.rotate(gray, cv2.ROTATE_90_CLOCKWISE)) if turned else gray
            for strip in self._strips(picture):
                corners = _box(strip)
                if turned:  # back: what was at the bottom is on the left now
                    corners = np.stack([corners[:, 1], gray.shape[0] - corners[:, 0]], axis=1)
                self._keep(found, strip.kind, strip.text, corners.astype(np.float32))
        return found

    def _strips(self, gray: Gray) -> list[Strip]:
        rows = 15 if self._effort == "medium" else 31
        found = read_rows(gray, rows)
        if found or self._effort == "low":
            return found
        wide = min(3.0, 4096 / gray.shape[1])
        if wide <= 1:
            return []
        enlarged = self._cv2.resize(gray, None, fx=wide, fy=1, interpolation=self._cv2.INTER_CUBIC)
        return [
            Strip(one.kind, one.text, one.left / wide, one.top, one.right / wide, one.bottom, one.upside_down)
            for one in read_rows(enlarged, rows)
        ]

    def _along(self, gray: Gray, quad: NDArray[np.float32]) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
        """What lines through a slanted code say; the quad is laid straight first, with some paper beside it."""
        cv2 = self._cv2
        across = float(np.linalg.norm(quad[2] - quad[1]))
        along = float(np.linalg.norm(quad[1] - quad[0]))
        if min(across, along) < _LEAST_PX:
            return
        grow = 0.12 * (quad[2] - quad[1])
        wider = np.stack([quad[0] - grow, quad[1] - grow, quad[2] + grow, quad[3] + grow])
        width, height = int(min(2048, 2.5 * across)), int(min(256, along))
        corners = np.array([[0, height], [0, 0], [width, 0], [width, height]], np.float32)
        straight = cv2.getPerspectiveTransform(wider.astype(np.float32), corners)
        strip = cv2.warpPerspective(gray, straight, (width, height), flags=cv2.INTER_CUBIC, borderValue=255)
        back = np.linalg.inv(straight)
        for one in read_rows(strip):
            where = cv2.perspectiveTransform(_box(one).astype(np.float32)[None], back)[0]
            yield one.kind, one.text, where

    def _keep(self, found: list[Code], kind: str, text: str, quad: NDArray[np.float32]) -> None:
        """Add a linear code, by the name that was asked for, when its check digit fits."""
        if kind != "code128" and not gs1_digits_fit([int(digit) for digit in text]):
            return
        if kind == "upc_a" and "upc_a" not in self._kinds:
            kind, text = "ean13", "0" + text
        elif kind == "ean13" and text.startswith("0") and "upc_a" in self._kinds:
            kind, text = "upc_a", text[1:]
        if kind in self._kinds:
            added(found, Code(kind, text, quad))


def _box(strip: Strip) -> NDArray[np.float64]:
    """The corners of a strip, (4, 2), clockwise from the code's own top left."""
    left, top, right, bottom = strip.left, strip.top, strip.right, strip.bottom
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return np.roll(corners, 2, axis=0) if strip.upside_down else corners


def added(found: list[Code], code: Code) -> bool:
    """Whether a code was added: it is not when it is there already, the same text at the same place."""
    if any(one.text == code.text and _same_place(one.quad, code.quad) for one in found):
        return False
    found.append(code)
    return True


def _same_place(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether the middle of one quad lies within the other's box, either way."""
    return _within(one, other) or _within(other, one)


def _within(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    middle = one.mean(axis=0)
    return bool((middle >= other.min(axis=0)).all() and (middle <= other.max(axis=0)).all())


def qr_text(payload: bytes) -> str:
    """What the bytes that OpenCV gives for a QR code say.

    OpenCV takes bytes that are not UTF-8 for ISO 8859-1 and recodes them; many codes hold Shift JIS instead, as the
    first edition of ISO 18004 had it. Told apart as ZXing does (`StringUtils.guessEncoding`): control characters of
    ISO 8859-1, or three half-width katakana in a row, are no Western text.
    """
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return _japanese(payload) or payload.decode("latin-1")
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        return text
    if raw.isascii():
        return text
    try:
        return raw.decode("utf-8")  # was UTF-8 before it was recoded
    except UnicodeDecodeError:
        pass
    controls = any(0x80 <= byte < 0xA0 for byte in raw)  # noqa: PLR2004 - C1
    kana = max(map(len, "".join("k" if 0xA1 <= byte <= 0xDF else " " for byte in raw).split()), default=0)  # noqa: PLR2004
    return (_japanese(raw) if controls or kana >= 3 else "") or text  # noqa: PLR2004


def _japanese(raw: bytes) -> str:
    try:
        return raw.decode("cp932")  # Shift JIS as it is written
    except UnicodeDecodeError:
        return ""
