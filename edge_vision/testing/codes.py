"""Draws codes, for tests and examples: EAN-13, EAN-8, Code 128 and QR, as gray pictures with their quiet zones."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.code128 import STOP, SYMBOLS, check_symbol
from edge_vision.core.plugin import require

Gray = NDArray[np.uint8]

_LEFT: Final = (
    "0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011",
)  # fmt: skip
"""Modules of the digits of set A, 1 is dark (GS1 General Specifications, 5.2.1.2.1)."""
_PARITY: Final = ["LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL"]


def check_digit(digits: str) -> str:
    """The digit that completes an EAN, UPC or other GS1 number."""
    return str(-sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits))) % 10)


def draw_ean(text: str, module: int = 3, height: int = 120) -> Gray:
    """An EAN-13 or EAN-8, or, with a 0 before it, a UPC-A; `text` has all its digits."""
    right = {str(digit): "".join("10"[int(bit)] for bit in left) for digit, left in enumerate(_LEFT)}
    even = {digit: modules[::-1] for digit, modules in right.items()}
    half = len(text) // 2
    if len(text) == 13:  # noqa: PLR2004 - its digits
        sets, text = _PARITY[int(text[0])], text[1:]
    else:
        sets = "L" * half
    first = "".join(_LEFT[int(digit)] if one == "L" else even[digit] for digit, one in zip(text, sets, strict=False))
    last = "".join(right[digit] for digit in text[half:])
    return _bars(f"101{first}01010{last}101", module, height)


def draw_code128(symbols: list[int], module: int = 2, height: int = 80) -> Gray:
    """Code 128 with these symbols, from start to the last one before the check symbol."""
    whole = [*symbols, check_symbol(symbols), STOP]
    widths = [int(width) for value in whole for width in SYMBOLS[value]] + [2]
    return _bars("".join("10"[place % 2] * width for place, width in enumerate(widths)), module, height)


def code128_b(text: str) -> list[int]:
    """The symbols of an ASCII text in set B."""
    return [104, *(ord(letter) - 32 for letter in text)]


def draw_qr(text: str, module: int = 4) -> Gray:
    """A QR code."""
    cv2: Any = require("cv2", "cpu")
    small = cv2.QRCodeEncoder.create().encode(text)
    picture: Gray = cv2.resize(small, None, fx=module, fy=module, interpolation=cv2.INTER_NEAREST)
    return np.pad(picture, 4 * module, constant_values=255)


def draw_aruco(number: int, side: int = 80, dictionary: str = "4X4_50") -> Gray:
    """A marker."""
    cv2: Any = require("cv2", "cpu")
    chosen = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{dictionary}"))
    marker: Gray = cv2.aruco.generateImageMarker(chosen, number, side)
    return np.pad(marker, side // 4, constant_values=255)


def _bars(modules: str, module: int, height: int) -> Gray:
    line = np.array([0 if bit == "1" else 255 for bit in modules], np.uint8).repeat(module)
    return np.pad(np.tile(line, (height, 1)), ((10, 10), (11 * module, 11 * module)), constant_values=255)
