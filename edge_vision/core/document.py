"""A YAML file that remembers where each of its values stands, so that an error can say file:line:column."""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import yaml

Place: TypeAlias = tuple[str | int, ...]
"""The way to a value inside a document: ("cameras", 0, "source", "url")."""

_MAX_BYTES: Final = 4 * 1024 * 1024
_MAX_NODES: Final = 100_000
_MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, and where."""

    file: Path
    line: int
    column: int
    path: str
    text: str

    def __str__(self) -> str:
        path = f" {self.path}:" if self.path else ""
        return f"{self.file}:{self.line}:{self.column}:{path} {self.text}"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its plain data, and the line and column (from 1) of every key and value."""

    file: Path
    data: Any
    keys: dict[Place, tuple[int, int]] = field(repr=False)
    values: dict[Place, tuple[int, int]] = field(repr=False)

    @property
    def folder(self) -> Path:
        """The folder, absolute, that relative paths in this file start from."""
        return self.file.absolute().parent

    def problem(self, place: Place, text: str, *, at_key: bool = False) -> Problem:
        """A problem with the value at `place`, or with its key; an absent one is placed at its nearest parent."""
        spot = self.keys.get(place) if at_key else self.values.get(place)
        parents = (place[:length] for length in range(len(place) - 1, -1, -1))
        around = (self.keys.get(parent) or self.values.get(parent) for parent in parents)
        line, column = spot or next(filter(None, around), (1, 1))
        return Problem(self.file, line, column, dotted(place), text)


def dotted(place: Place) -> str:
    """("cameras", 0, "id") as people write it: cameras[0].id."""
    text = ""
    for step in place:
        shown = "(hidden)" if isinstance(step, str) and ("://" in step or "@" in step) else step
        text += f"[{step}]" if isinstance(step, int) else f".{shown}" if text else str(shown)
    return text


class _Loader(yaml.SafeLoader):
    """Reads plain words as YAML 1.2 does: `yes`, `on`, `0360`, `1:30` and dates are what they look like."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc] # types-PyYAML takes it for a field


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))


class DocumentError(Exception):
    """A file that cannot be read as one YAML document; carries the single problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_document(file: Path) -> tuple[Document, list[Problem]]:
    """Parse a YAML file; the list holds what is wrong with it as YAML, such as a key given twice.

    Raises DocumentError when there is nothing to go on with: no such file, not text, a syntax error.
    """
    text = _read_text(file)
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            reader = _Reader(file, loader)
            data = None if root is None else reader.build(root, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = error.problem or error.context or "cannot be parsed"
        if "alias" in what or "tag" in what:  # their names are whatever was written, perhaps a password
            what = re.sub(r"'.*'", "(its name is not repeated here)", what)
        raise DocumentError(Problem(file, line, column, "", f"not valid YAML: {what}")) from error
    except RecursionError:  # PyYAML's own, long before the depth is looked at
        raise DocumentError(Problem(file, 1, 1, "", f"nested deeper than {_MAX_DEPTH} levels")) from None
    except yaml.YAMLError as error:
        what = str(error).splitlines()[0]
        raise DocumentError(Problem(file, 1, 1, "", f"not valid YAML: {what}")) from error
    return Document(file, data, reader.keys, reader.values), reader.problems


def read_value(text: str) -> Any:
    """A value written outside a file, read as it would be in one. Raises ValueError for what is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - made of SafeLoader
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        raise ValueError(getattr(error, "problem", None) or "cannot be parsed") from None


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise DocumentError(Problem(file, 1, 1, "", f"is larger than the limit of {_MAX_BYTES} bytes"))
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise DocumentError(Problem(file, 1, 1, "", f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        text = f"is not UTF-8 text: byte 0x{raw[error.start]:02x}"
        raise DocumentError(Problem(file, line, 1, "", text)) from error


class _Reader:
    """Builds plain data from YAML nodes and notes where each came from."""

    def __init__(self, file: Path, loader: yaml.SafeLoader) -> None:
        self._file = file
        self._loader = loader
        self._open: set[int] = set()
        self._count = 0
        self.keys: dict[Place, tuple[int, int]] = {}
        self.values: dict[Place, tuple[int, int]] = {}
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, place: Place) -> Any:
        self._count += 1
        if self._count > _MAX_NODES:
            raise self._stop(node, place, f"more than {_MAX_NODES} values")
        if len(place) > _MAX_DEPTH:
            raise self._stop(node, place, f"nested deeper than {_MAX_DEPTH} levels")
        if id(node) in self._open:
            raise self._stop(node, place, "an alias that contains itself")
        self.values[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return dict(self._pairs(node, place))
            if isinstance(node, yaml.SequenceNode):
                return [self.build(child, (*place, number)) for number, child in enumerate(node.value)]
            return self._scalar(node, place)
        finally:
            self._open.discard(id(node))

    def _pairs(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[Hashable, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                text = "merge keys (<<) and keys that are lists or mappings are not supported"
                self.problems.append(Problem(self._file, line, column, dotted(place), text))
                continue
            key = str(key_node.value)  # `on:` and `1:` are keys as written, not True and 1
            here = (*place, key)
            if key in seen:
                text = f"key given twice; the first is on line {seen[key]}"
                self.problems.append(Problem(self._file, line, column, dotted(here), text))
                continue
            seen[key] = line
            self.keys[here] = (line, column)
            yield key, self.build(value_node, here)

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            text = "not a value that YAML allows here: quote it if it is text"
            mark = node.start_mark
            self.problems.append(Problem(self._file, mark.line + 1, mark.column + 1, dotted(place), text))
            return None

    def _stop(self, node: yaml.Node, place: Place, text: str) -> DocumentError:
        mark = node.start_mark
        return DocumentError(Problem(self._file, mark.line + 1, mark.column + 1, dotted(place), text))
