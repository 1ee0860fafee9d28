"""Reads bar codes along lines through a gray picture: EAN-13, EAN-8, UPC-A and Code 128.

OpenCV finds bars but reads only the EAN family (and no Code 128); its reader wants the whole code straight and large.
Here every line is cut into bars and gaps to a fraction of a pixel, and is a reading when guards, digits and the check
digit fit. The symbologies are those of the GS1 General Specifications, 5.2 (EAN/UPC) and 5.4 (Code 128, ISO/IEC 15417).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edge_vision.core.code128 import FNC1, STARTS, STOP, SYMBOLS, check_symbol
from edge_vision.core.plugin import require

_Array = NDArray[np.float64]

_DIGITS: Final = np.array(
    [[3, 2, 1, 1], [2, 2, 2, 1], [2, 1, 2, 2], [1, 4, 1, 1], [1, 1, 3, 2],
     [1, 2, 3, 1], [1, 1, 1, 4], [1, 3, 1, 2], [1, 2, 1, 3], [3, 1, 1, 2]], float,
)  # fmt: skip
"""Widths of the digits 0 to 9 of set A (and, with colors changed, C); set B is the same backwards."""
_FIRST_DIGIT: Final = {
    pattern: digit
    for digit, pattern in enumerate(
        ("AAAAAA", "AABABB", "AABBAB", "AABBBA", "ABAABB", "ABBAAB", "ABBBAA", "ABABAB", "ABABBA", "ABBABA")
    )
}
"""The first digit of an EAN-13 is told by the sets of the six after it."""
_GS: Final = "\x1d"
"""What GS1 separates fields by."""
_OFF: Final = 1.9
"""How many modules the bars and gaps of a digit or symbol may be off in sum. Another digit is at least 2 away."""
_QUIET: Final = 5.0
"""Modules of nothing beside a code, more than any gap inside one has. The specifications ask for 7 to 11; prints cut
close have less."""
_LEAST_CONTRAST: Final = 0.12
"""Of the contrast of the whole picture: what varies less is paper."""
_AGREE: Final = 2
"""Lines that must say the same: what one line says by chance, a second one does not."""


@dataclass(frozen=True, slots=True)
class Line:
    """A code read along one line: its kind and text, from where to where, in pixels along it, and whether backwards."""

    kind: str
    text: str
    start: float
    end: float
    backwards: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """A code that several rows agree on, the box of those rows, in pixels, and whether it is upside down."""

    kind: str
    text: str
    left: float
    top: float
    right: float
    bottom: float
    upside_down: bool


def read_rows(gray: NDArray[np.uint8], rows: int = 15) -> list[Strip]:
    """The codes whose bars stand upright in a gray picture (height, width), read along up to `rows` lines."""
    height, width = gray.shape
    if height < _AGREE or width < 2 * _DIGITS.size:
        return []
    cv2: Any = require("cv2", "cpu")
    count = min(rows, height)
    middles = (np.arange(count) + 0.5) * height / count
    lines = cv2.resize(gray, (width, count), interpolation=cv2.INTER_AREA if height >= count else cv2.INTER_LINEAR)
    found: dict[tuple[str, str], list[tuple[float, Line]]] = {}
    for window in (max(9, width // 24) | 1, max(9, width // 6) | 1):
        depth = _depths(cv2, lines, window)
        for row, middle in enumerate(middles.tolist()):
            for line in read_line(depth[row]):
                found.setdefault((line.kind, line.text), []).append((middle, line))
        if found:
            break
    half = height / count / 2
    strips = []
    for (kind, text), seen in found.items():
        if len({middle for middle, _ in seen}) >= _AGREE:
            left = float(np.median([line.start for _, line in seen]))
            right = float(np.median([line.end for _, line in seen]))
            top, bottom = min(middle for middle, _ in seen) - half, max(middle for middle, _ in seen) + half
            strips.append(Strip(kind, text, left, top, right, bottom, seen[0][1].backwards))
    return [strip for strip in strips if not any(_outdoes(other, strip) for other in strips)]


def _outdoes(one: Strip, other: Strip) -> bool:
    """Whether a Code 128 lies where an EAN-8 was read: with four characters it has as many bars, and more to check."""
    across = one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom
    return across and one.kind == "code128" and other.kind == "ean8"


def _depths(cv2: Any, lines: NDArray[np.uint8], window: int) -> NDArray[np.float32]:
    """How much darker each pixel is than the middle between light and dark around it; negative where it is lighter."""
    around = np.ones((1, window), np.uint8)
    low = cv2.erode(lines, around).astype(np.float32)
    high = cv2.dilate(lines, around).astype(np.float32)
    smooth = (window, 1)
    middle = cv2.blur((low + high) / 2, smooth, borderType=cv2.BORDER_REPLICATE)
    contrast = float(lines.max()) - float(lines.min())
    plain = high - low < max(8.0, _LEAST_CONTRAST * contrast)
    depth: NDArray[np.float32] = np.where(plain, np.float32(-1.0), middle - lines)
    return depth


def read_line(depth: NDArray[np.float32]) -> Iterator[Line]:
    """The codes along one line, read in both directions; `depth` (n,) is positive where it is dark."""
    dark = depth > 0
    turns = np.flatnonzero(dark[1:] != dark[:-1])
    if len(turns) < 2:  # noqa: PLR2004 - a bar has two sides
        return
    before, after = depth[turns].astype(float), depth[turns + 1].astype(float)
    edges = turns + 0.5 + before / (before - after)
    edges = edges[int(dark[0]) :]  # the first edge goes from light to dark, so that run 0, 2, 4 ... is a bar
    edges = edges[: len(edges) // 2 * 2]
    length = float(len(depth))
    for along, backwards in ((edges, False), (length - edges[::-1], True)):
        widths = np.diff(along)
        quiet = (float(along[0]) if len(along) else 0.0, length - float(along[-1]) if len(along) else 0.0)
        for kind, text, first, last in (*_ean(widths, quiet), *_code128(widths, quiet)):
            start, end = float(along[first]), float(along[last])
            yield Line(kind, text, *((length - end, length - start) if backwards else (start, end)), backwards)


_Found = tuple[str, str, int, int]
"""Kind, text, and the numbers of the first and the last edge."""


def _windows(widths: _Array, count: int) -> tuple[_Array, NDArray[np.intp]]:
    """Every `count` runs that begin with a bar, (m, count), and the number of the first run of each."""
    if len(widths) < count:
        return np.empty((0, count)), np.empty(0, np.intp)
    return sliding_window_view(widths, count)[::2], np.arange(0, len(widths) - count + 1, 2)


def _has_margins(widths: _Array, quiet: tuple[float, float], first: int, last: int, module: float) -> bool:
    """Whether there is nothing for a while before edge `first` and after edge `last`; a picture may end there."""
    before = widths[first - 1] if first else max(quiet[0], _QUIET * module)
    after = widths[last] if last < len(widths) else max(quiet[1], _QUIET * module)
    return bool(min(before, after) >= _QUIET * module)


def _ean(widths: _Array, quiet: tuple[float, float]) -> Iterator[_Found]:
    for half in (6, 4):
        runs, modules = 8 * half + 11, 14 * half + 11
        windows, places = _windows(widths, runs)
        if not len(windows):
            continue
        module = windows.sum(axis=1) / modules
        center = 3 + 4 * half
        guards = np.r_[0:3, center : center + 5, runs - 3 : runs]
        off = np.abs(windows[:, guards] / module[:, None] - 1).max(axis=1)
        for number in np.flatnonzero(off < 0.8):  # noqa: PLR2004 - a guard is one module wide, not two and not none
            first = int(places[number])
            if not _has_margins(widths, quiet, first, first + runs, module[number]):
                continue
            text = _ean_digits(windows[number], half)
            if text is not None:
                yield _ean_kind(text), text, first, first + runs


def _ean_kind(text: str) -> str:
    return "ean8" if len(text) == 8 else "ean13"  # noqa: PLR2004 - its digits


def _ean_digits(runs: _Array, half: int) -> str | None:
    """The digits between the guards, when all of them and the check digit fit."""
    center = 3 + 4 * half
    left, right = runs[3:center].reshape(half, 4), runs[center + 5 : -3].reshape(half, 4)
    patterns = np.concatenate([_DIGITS, _DIGITS[:, ::-1]])
    numbers, off = _nearest(left, patterns, 7)
    last, last_off = _nearest(right, _DIGITS, 7)
    if max(off.max(), last_off.max()) > _OFF:
        return None
    digits = [*(numbers % 10).tolist(), *last.tolist()]
    if half == 6:  # noqa: PLR2004 - EAN-13
        first = _FIRST_DIGIT.get("".join("AB"[number // 10] for number in numbers))
        if first is None:
            return None
        digits = [first, *digits]
    elif (numbers >= 10).any():  # noqa: PLR2004 - the digits of set B come after those of set A
        return None
    return "".join(map(str, digits)) if gs1_digits_fit(digits) else None


def gs1_digits_fit(digits: list[int]) -> bool:
    """Whether the last digit is the check digit of those before it (GS1 General Specifications, 7.9)."""
    return sum(digit * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits))) % 10 == 0


def _nearest(runs: _Array, patterns: _Array, modules: int) -> tuple[NDArray[np.intp], _Array]:
    """For each row of runs (n, k) the pattern it is like most, and by how many modules it is off.

    Compared are distances from edge to like edge, which stay when ink makes all bars wider: the sums of neighbors.
    """
    scaled = runs * (modules / runs.sum(axis=1, keepdims=True))
    one, other = scaled[:, :-1] + scaled[:, 1:], patterns[:, :-1] + patterns[:, 1:]
    off = np.abs(one[:, None] - other[None]).sum(axis=2)
    # Two digits may have the same sums (1 and 7, 2 and 8): the bars themselves tell those apart.
    off += 0.5 * np.abs(scaled[:, None] - patterns[None]).sum(axis=2)
    best = off.argmin(axis=1)
    return best, off[np.arange(len(best)), best] / 1.5


def _code128(widths: _Array, quiet: tuple[float, float]) -> Iterator[_Found]:
    windows, places = _windows(widths, 6)
    if len(windows) < 4:  # noqa: PLR2004 - start, a symbol, check and stop
        return
    begins = _nearest(windows, SYMBOLS[STARTS[0] : STOP], 11)[1] < _OFF
    if not begins.any():
        return
    values, off = _nearest(windows, SYMBOLS, 11)
    sums = windows.sum(axis=1)
    fits = off < _OFF
    for row in np.flatnonzero(begins & fits & np.isin(values, STARTS)):
        symbols = [int(values[row])]
        place = int(row)
        for place in range(int(row) + 3, len(windows), 3):
            if not fits[place] or not 0.75 < sums[place] / sums[place - 3] < 1.33:  # noqa: PLR2004 - of one size
                break
            symbols.append(int(values[place]))
            if symbols[-1] == STOP:
                break
        first, last = int(places[row]), int(places[place]) + 7
        if symbols[-1] != STOP or last > len(widths) or len(symbols) < 4:  # noqa: PLR2004 - start, check and stop
            continue
        if not _has_margins(widths, quiet, first, last, sums[row] / 11):
            continue
        text = code128_text(symbols)
        if text is not None:
            yield "code128", text, first, last


def code128_text(symbols: list[int]) -> str | None:
    """What symbols from start to stop say; None when their check symbol says something else.

    FNC1 at the start marks a GS1 code and is left out, later ones separate its fields (GS, U+001D); FNC4 shifts to
    the upper half of ISO 8859-1.
    """
    start, *data, check, _ = symbols
    if check_symbol([start, *data]) != check:
        return None
    state, text = _State("ABC"[start - 103]), []
    for place, value in enumerate(data):
        if value >= STARTS[0]:
            return None
        if value == FNC1:
            text += [] if place == 0 else [_GS]
        else:
            text.append(state.take(value))
    return "".join(text)


class _State:
    """Which set of characters the next symbol of Code 128 is in."""

    def __init__(self, chosen: str) -> None:
        self._set = chosen
        self._once = ""
        self._upper = False
        self._upper_once = False

    def take(self, value: int) -> str:
        """The text of a symbol: two digits, a character, or nothing when it only switches."""
        now, self._once = self._once or self._set, ""
        if now == "C":
            if value < 100:  # noqa: PLR2004 - pairs of digits
                return f"{value:02d}"
            self._set = "B" if value == 100 else "A"  # noqa: PLR2004
            return ""
        if value < 96:  # noqa: PLR2004 - characters; what comes after them switches
            code = value + 32 if now == "B" or value < 64 else value - 64  # noqa: PLR2004
            upper, self._upper_once = self._upper ^ self._upper_once, False
            return chr(code + 128 * upper)
        if value == 98:  # noqa: PLR2004 - shift
            self._once = "A" if now == "B" else "B"
        elif value == 99:  # noqa: PLR2004 - code C
            self._set = "C"
        elif value == (100 if now == "B" else 101):  # FNC4; twice is for good
            self._upper, self._upper_once = self._upper ^ self._upper_once, not self._upper_once
        elif value in (100, 101):
            self._set = "B" if value == 100 else "A"  # noqa: PLR2004
        return ""
