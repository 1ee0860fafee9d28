"""Checks that a YAML file remembers where its values stand, and that no file, however odd, brings the reader down."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_vision.core.document import Document, DocumentError, Place, Problem, dotted, read_document

Read = Callable[[str | bytes], tuple[Document, list[Problem]]]


@pytest.fixture(name="read")
def _read(tmp_path: Path) -> Read:
    """Read a text as if it were a file."""

    def read(text: str | bytes) -> tuple[Document, list[Problem]]:
        file = tmp_path / "site.yaml"
        file.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return read_document(file)

    return read


SITE = """\
    # a comment
    version: 1
    cameras:
      - id: gate
        source: {kind: file,
                 path: "clip.mp4"}
      -
        id:   dock
    list: [1, [2, 3]]
    text: |
      two
      lines
    """


@pytest.mark.parametrize(
    "place, key, value",
    [
        (("version",), (2, 1), (2, 10)),
        (("cameras",), (3, 1), (4, 3)),
        (("cameras", 0), None, (4, 5)),
        (("cameras", 0, "id"), (4, 5), (4, 9)),
        (("cameras", 0, "source"), (5, 5), (5, 13)),
        (("cameras", 0, "source", "kind"), (5, 14), (5, 20)),
        (("cameras", 0, "source", "path"), (6, 14), (6, 20)),
        (("cameras", 1), None, (8, 5)),
        (("cameras", 1, "id"), (8, 5), (8, 11)),
        (("list", 1, 0), None, (9, 12)),
        (("text",), (10, 1), (10, 7)),
        ((), None, (2, 1)),
    ],
)
def test_every_key_and_value_has_its_line_and_column(
    place: Place, key: tuple[int, int] | None, value: tuple[int, int], read: Read
) -> None:
    """Counted from 1, in block and in flow style, for keys and for values."""
    document, problems = read(SITE)
    assert problems == []
    assert document.keys.get(place) == key
    assert document.values[place] == value


def test_the_data_is_plain(read: Read) -> None:
    """Dicts, lists and scalars, as any YAML reader gives them."""
    document, _ = read(SITE)
    assert document.data == {
        "version": 1,
        "cameras": [{"id": "gate", "source": {"kind": "file", "path": "clip.mp4"}}, {"id": "dock"}],
        "list": [1, [2, 3]],
        "text": "two\nlines\n",
    }
    assert document.folder.is_absolute()
    assert document.folder == document.file.parent


def test_a_problem_says_file_line_column_and_path(read: Read) -> None:
    """As compilers say it, so that editors jump there."""
    document, _ = read(SITE)
    problem = document.problem(("cameras", 0, "source", "kind"), "is wrong")
    assert str(problem) == f"{document.file}:5:20: cameras[0].source.kind: is wrong"
    assert str(document.problem(("cameras", 0, "id"), "is wrong", at_key=True)).startswith(f"{document.file}:4:5:")


@pytest.mark.parametrize(
    "place, spot", [(("cameras", 1, "source"), (8, 5)), (("cameras", 1, "source", "kind"), (8, 5)), (("sink",), (2, 1))]
)
def test_something_absent_is_placed_at_its_nearest_parent(place: Place, spot: tuple[int, int], read: Read) -> None:
    """The message still names the whole path."""
    document, _ = read(SITE)
    problem = document.problem(place, "this key is required")
    assert (problem.line, problem.column) == spot
    assert problem.path == dotted(place)


@pytest.mark.parametrize(
    "place, text", [((), ""), (("a",), "a"), (("a", 0, "b"), "a[0].b"), ((0, 1), "[0][1]"), (("a", "b", 2), "a.b[2]")]
)
def test_places_are_written_as_people_write_them(place: Place, text: str) -> None:
    """cameras[0].id."""
    assert dotted(place) == text


def test_a_key_given_twice_is_a_problem_with_both_lines(read: Read) -> None:
    """The first one counts; the second is reported where it stands, however deep."""
    document, problems = read("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert [(problem.line, problem.column, problem.path, problem.text) for problem in problems] == [
        (2, 11, "b.c", "key given twice; the first is on line 2"),
        (3, 1, "a", "key given twice; the first is on line 1"),
    ]


@pytest.mark.parametrize("text", ["a: &x {b: 1}\nc: {<<: *x}\n", "{[1, 2]: 3}\n", "? {a: 1}\n: 2\n"])
def test_keys_that_are_not_words_are_a_problem(text: str, read: Read) -> None:
    """Merge keys, lists and mappings as keys."""
    _, problems = read(text)
    assert ["are not supported" in problem.text for problem in problems] == [True]


def test_keys_are_taken_as_written(read: Read) -> None:
    """`on`, `1` and `null` are words here, not True, 1 and None."""
    assert read("on: 1\n1: 2\nnull: 3\n")[0].data == {"on": 1, "1": 2, "null": 3}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file_is_a_document_without_data(text: str, read: Read) -> None:
    """What must be there is for the schema to say; a problem is placed at the top."""
    document, problems = read(text)
    assert (document.data, problems) == (None, [])
    assert document.problem(("version",), "missing").line <= 2


def test_a_byte_order_mark_is_skipped(read: Read) -> None:
    """Editors on Windows write one."""
    document, _ = read("\ufeffa: 1\n")
    assert (document.data, document.keys["a",]) == ({"a": 1}, (1, 1))


@pytest.mark.parametrize(
    "text, line, column, words",
    [
        (b"a: 1\nb: \xff\n", 2, 1, "is not UTF-8 text: byte 0xff"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, 1, "not valid YAML"),
        ("a:\n\t- 1\n", 2, 1, "not valid YAML: found character '\\t'"),
        ("a: 'open\n", 2, 1, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", 2, 1, "not valid YAML: but found another document"),
        ("a: *nobody\n", 1, 4, "not valid YAML: found undefined alias"),
        ("a: \x07\n", 1, 1, "not valid YAML"),
        ("&x [*x]\n", 1, 1, "an alias that contains itself"),
        ("a: &x {b: {c: *x}}\n", 1, 4, "an alias that contains itself"),
        ("[" * 70 + "]" * 70, 1, 66, "nested deeper than 64 levels"),
        ("{a: " * 70 + "1" + "}" * 70, 1, 65 * 4 + 1, "nested deeper than 64 levels"),
        ("[" + "1, " * 100_001 + "1]", 1, 300_001 - 2, "more than 100000 values"),
        ("x" * (4 * 1024 * 1024 + 1), 1, 1, "is larger than the limit of 4194304 bytes"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str | bytes) else None,
)
def test_a_file_that_cannot_be_read_is_one_problem_in_its_place(
    text: str | bytes, line: int, column: int, words: str, read: Read
) -> None:
    """There is nothing to go on with: DocumentError with a line and the reason."""
    with pytest.raises(DocumentError) as caught:
        read(text)
    assert words in caught.value.problem.text
    assert caught.value.problem.line == line
    assert abs(caught.value.problem.column - column) <= 2


@pytest.mark.parametrize("levels", [1_000, 20_000])
def test_any_nesting_is_one_problem(levels: int, read: Read) -> None:
    """A file that is a thousand levels deep is refused like one of seventy."""
    with pytest.raises(DocumentError):
        read("[" * levels + "]" * levels)


def test_a_small_file_that_unfolds_to_a_huge_one_is_refused(read: Read) -> None:
    """Aliases of aliases ("a billion laughs") stop at the limit of values, not at the end of the memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(DocumentError, match="more than 100000 values"):
        read("\n".join(lines))


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object/apply:os.system [echo]\nb: !!int x\n", "b: !!int x\n", "b: !what 1\n"],
)
def test_a_value_that_cannot_be_made_is_a_problem_and_nothing_runs(text: str, read: Read) -> None:
    """A tag YAML cannot honor is reported where it stands; the rest of the file is read."""
    document, problems = read(text + "c: 1\n")
    line = text.splitlines().index(next(line for line in text.splitlines() if line.startswith("b:"))) + 1
    assert [(problem.path, problem.line, problem.column) for problem in problems] == [("b", line, 4)]
    assert (document.data["b"], document.data["c"]) == (None, 1)


@pytest.mark.parametrize("name, words", [("absent.yaml", "No such file"), ("", "Is a directory")])
def test_a_file_that_cannot_be_opened_is_a_problem(name: str, words: str, tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(DocumentError, match=f"cannot be read: {words}"):
        read_document(tmp_path / name)


@given(raw=st.one_of(st.binary(max_size=80), st.text(alphabet="ab:-[]{}&*!|>'\"#?, \n\t01<", max_size=60)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_no_file_brings_the_reader_down(raw: bytes | str, read: Read) -> None:
    """Any bytes are a document, or a DocumentError with a place; every value read has a line of the file."""
    try:
        document, problems = read(raw if isinstance(raw, bytes) else raw.encode())
    except DocumentError as error:
        problems, spots = [error.problem], [(error.problem.line, error.problem.column)]
    else:
        spots = [*document.values.values(), *document.keys.values()]
    assert all(line >= 1 and column >= 1 for line, column in spots)
    assert all(problem.text for problem in problems)
