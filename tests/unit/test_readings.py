"""Checks how readings are held against what is written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ConfigError
from edge_vision.models.proof.readings import Read, Reading, best_text, edits, read_texts


@pytest.mark.parametrize(
    "read, text, expected",
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("皖A88G091", "皖A88G02", 2),
        ("ab", "ba", 2),
    ],
)
def test_edits_are_insertions_deletions_and_changes(read: str, text: str, expected: int) -> None:
    """Worked by hand."""
    assert edits(read, text) == expected


def _by_definition(one: str, other: str) -> int:
    """Levenshtein's recursion, as written."""
    if not one or not other:
        return len(one) + len(other)
    change = _by_definition(one[1:], other[1:]) + (one[0] != other[0])
    return min(change, _by_definition(one[1:], other) + 1, _by_definition(one, other[1:]) + 1)


@given(one=st.text("ab", max_size=5), other=st.text("abc", max_size=5))
def test_edits_equal_the_definition(one: str, other: str) -> None:
    """The table row by row against the recursion, and the same both ways."""
    assert edits(one, other) == edits(other, one) == _by_definition(one, other)


def test_exact_readings_and_the_error_rate() -> None:
    """Of ten characters one is wrong and two are missing; a picture in which nothing was read counts as all wrong."""
    readings = (Reading("a", "ABC", "ABC"), Reading("b", "ABCDE", "ABXDE"), Reading("c", "AB", ""))
    done = Read("onnxruntime", "CPU", "m.onnx", "f32", readings, 0)
    assert done.exact == 1
    assert done.error_rate == pytest.approx(3 / 10)


def test_the_reading_with_most_confidence_counts() -> None:
    """Of several; nothing where there is no row or no text."""
    boxes, classes = np.zeros((2, 4), np.float32), np.zeros(2, np.int32)
    confidence = np.array([0.3, 0.8], np.float32)
    seen = Detections(boxes, confidence, classes, text=np.array(["no", "yes"]))
    assert best_text(seen) == "yes"
    assert best_text(Detections(boxes, confidence, classes)) == ""
    assert best_text(Detections.empty()) == ""


def test_texts_are_read_whatever_else_the_file_holds(tmp_path: Path) -> None:
    """Commas in quotes, a byte order mark, further columns, `plate` for `text`, an empty text."""
    file = tmp_path / "labels.csv"
    file.write_text('\ufefffile,plate,by\na.jpg,"A,1",me\nb.jpg, 京B2 ,you\nc.jpg,,me\n', encoding="utf-8")
    assert read_texts(file) == {"a.jpg": "A,1", "b.jpg": "京B2", "c.jpg": ""}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"file,label\na,b\n", ":1: needs the columns file and text (or plate), has file, label"),
        (b"", ":1: needs the columns file and text (or plate), has nothing"),
        (b"file,text\na.jpg,1\na.jpg,2\n", ":3: a.jpg is there twice"),
        (b"file,text\n,2\n", ":2: needs a file and a text"),
        (b"file,text\na.jpg\n", ":2: needs a file and a text"),
        (b"file,text\na.jpg,\xff\n", "is not CSV in UTF-8"),
        (b'file,text\na.jpg,"x\n', "is not CSV in UTF-8"),
        (None, "no such file"),
    ],
)
def test_what_is_no_such_file_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    """Named, with the line."""
    file = tmp_path / "labels.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as failed:
        read_texts(file)
    assert str(file) in str(failed.value)
    assert words in str(failed.value)
