"""Bar codes are read along lines: every digit, both ways, bent by print and optics, and never out of nothing."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vision.analytics.linear import code128_text, gs1_digits_fit, read_rows
from edge_vision.core.code128 import SYMBOLS
from edge_vision.testing.codes import check_digit, code128_b, draw_code128, draw_ean


def _read(gray: Any) -> list[tuple[str, str]]:
    return [(strip.kind, strip.text) for strip in read_rows(np.ascontiguousarray(gray))]


@settings(max_examples=25, deadline=None)
@given(digits=st.text("0123456789", min_size=12, max_size=12), backwards=st.booleans())
def test_an_ean13_is_read_in_both_directions(digits: str, backwards: bool) -> None:
    """Its first digit lies in the sets of the six after it."""
    text = digits + check_digit(digits)
    picture = draw_ean(text)
    assert _read(picture[::-1, ::-1] if backwards else picture) == [("ean13", text)]


@settings(max_examples=15, deadline=None)
@given(digits=st.text("0123456789", min_size=7, max_size=7))
def test_an_ean8_is_read(digits: str) -> None:
    """It is told from an EAN-13 by its number of bars."""
    text = digits + check_digit(digits)
    assert _read(draw_ean(text)) == [("ean8", text)]


@settings(max_examples=15, deadline=None)
@given(text=st.text([chr(code) for code in range(32, 127)], min_size=1, max_size=20), backwards=st.booleans())
def test_a_code128_is_read_in_both_directions(text: str, backwards: bool) -> None:
    """Every printable character of ASCII, in set B."""
    picture = draw_code128(code128_b(text))
    assert _read(picture[:, ::-1] if backwards else picture) == [("code128", text)]


def test_the_table_of_code128_is_a_table_of_code128() -> None:
    """107 symbols of 11 modules, all different, each with an even number of dark modules, as ISO/IEC 15417 has them."""
    assert len({tuple(symbol) for symbol in SYMBOLS}) == 107
    assert (SYMBOLS.sum(axis=1) == 11).all()
    assert (SYMBOLS[:, ::2].sum(axis=1) % 2 == 0).all()


@pytest.mark.parametrize(
    "symbols, text",
    [
        ([105, 12, 34, 56], "123456"),
        ([105, 102, 1, 23], "0123"),  # FNC1 at the start marks GS1
        ([105, 102, 1, 23, 102, 45], "0123\x1d45"),  # and later ends a field
        ([104, 33, 99, 12, 34, 100, 34], "A1234B"),
        ([103, 33, 64, 101, 3], "A\x00\xa3"),  # FNC4 in A: the upper half, once
        ([104, 65, 98, 65, 65], "a\x01a"),  # shift is for one
        ([104, 100, 83, 83], "ós"),
        ([104, 100, 100, 83, 83, 100, 83, 100, 100, 83], "óóss"),
        ([104, 33, 101, 64, 100, 65], "A\x00a"),
    ],
)
def test_sets_shifts_and_functions_of_code128(symbols: list[int], text: str) -> None:
    """As ISO/IEC 15417 has them."""
    check = (symbols[0] + sum(place * value for place, value in enumerate(symbols[1:], 1))) % 103
    assert code128_text([*symbols, check, 106]) == text
    assert code128_text([*symbols, (check + 1) % 103, 106]) is None


@pytest.mark.parametrize("text, fits", [("4006381333931", True), ("4006381333932", False), ("96385074", True)])
def test_the_check_digit(text: str, fits: bool) -> None:
    """Of the GS1 General Specifications, 7.9."""
    assert gs1_digits_fit([int(digit) for digit in text]) is fits


@pytest.mark.parametrize("text", ["4006381333932", "1234567890123"])
def test_a_wrong_check_digit_is_not_read(text: str) -> None:
    """Drawn as it is, every digit legible."""
    assert _read(draw_ean(text)) == []


def _worn(gray: Any, *, ink: int = 0, blur: float = 0.0, noise: float = 0.0, shrink: float = 1.0) -> Any:
    if ink:
        gray = cv2.erode(gray, np.ones((1, ink), np.uint8))
    if shrink != 1:
        gray = cv2.resize(gray, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    if blur:
        gray = cv2.GaussianBlur(gray, (0, 0), blur)
    light = np.linspace(0.45, 1.0, gray.shape[1])  # from one side
    grain = np.random.default_rng(3).normal(0, noise, gray.shape)
    return np.clip(40 + 0.7 * gray * light + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "wear",
    [{"ink": 2}, {"blur": 1.5}, {"noise": 12}, {"shrink": 0.5}, {"ink": 2, "blur": 1.0, "noise": 6}],
    ids=str,
)
def test_prints_that_are_not_perfect_are_read(wear: dict[str, Any]) -> None:
    """Bars swollen by ink, out of focus, with noise, at 1.5 pixels per module; always lit from one side."""
    assert _read(_worn(draw_ean("4006381333931"), **wear)) == [("ean13", "4006381333931")]
    assert _read(_worn(draw_code128(code128_b("Part-0815/A"), module=3), **wear)) == [("code128", "Part-0815/A")]


def test_several_codes_on_one_line_are_told_apart() -> None:
    """Two side by side, each where it is."""
    first, second = draw_ean("4006381333931"), draw_code128(code128_b("B2"), height=120)
    strips = read_rows(np.concatenate([first, second], axis=1))
    assert {(strip.kind, strip.text) for strip in strips} == {("ean13", "4006381333931"), ("code128", "B2")}
    left, right = sorted(strips, key=lambda strip: strip.left)
    assert (left.left, left.right) == pytest.approx((33, 33 + 95 * 3), abs=1.5)
    assert right.left == pytest.approx(first.shape[1] + 22, abs=1.5)


def test_nothing_is_read_out_of_noise_and_text() -> None:
    """40 pictures of random bars and 10 of noise: two lines would have to agree on something with a check digit."""
    rng = np.random.default_rng(11)
    for _ in range(40):
        line = (rng.random(400) < 0.5).repeat(2).astype(np.uint8) * 255
        assert _read(np.tile(line, (60, 1))) == []
    for _ in range(10):
        assert _read(rng.integers(0, 255, (120, 400), dtype=np.uint8)) == []


@pytest.mark.parametrize("text", ["O18{", "KR:)", "W<:+", "(2{k"])
def test_four_characters_of_code128_are_no_ean8(text: str) -> None:
    """They have as many bars, and these fit the digits of one, and the check digit, when read backwards."""
    assert _read(draw_code128(code128_b(text), module=3)) == [("code128", text)]


def test_a_code_needs_quiet_beside_it() -> None:
    """A part of something longer is no code: bars two modules before the first guard."""
    picture = draw_ean("4006381333931")
    assert len(_read(picture)) == 1
    picture[:, 24:27] = 0
    assert _read(picture) == []


def test_a_line_alone_is_not_believed() -> None:
    """A code of one row is none: a single line may say anything."""
    picture = np.full((60, draw_ean("4006381333931").shape[1]), 255, np.uint8)
    picture[30] = draw_ean("4006381333931")[60]
    assert _read(picture) == []


@pytest.mark.parametrize("shape", [(1, 400), (400, 1), (5, 60), (40, 79), (40, 81)])
def test_small_pictures_hold_nothing(shape: tuple[int, int]) -> None:
    """And break nothing, whether they are plain or busy."""
    assert _read(np.full(shape, 200, np.uint8)) == []
    assert _read(np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)) == []
