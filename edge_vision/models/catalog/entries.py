"""The catalogue of public models: what each is, its license, and where its files lie, pinned by size and sha256."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from edge_vision.core.document import DocumentError, read_document
from edge_vision.core.errors import ConfigError
from edge_vision.core.options import Integer, Options, Url
from edge_vision.core.schema_errors import did_you_mean, validate
from edge_vision.models.options import BundleFile

SHIPPED: Final = Path(__file__).with_name("catalog.yaml")
"""The catalogue that comes with the package."""

_COMMIT = re.compile(r"[0-9a-f]{12,40}")


class RemoteFile(Options):
    """A file to fetch."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Its name in the bundle.")
    url: Annotated[Url, Field(pattern=r"^https://")] = Field(description="Where it is, at a version that never moves.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Its checksum.")
    size: Integer = Field(ge=1, description="Its size in bytes.")

    @field_validator("url")
    @classmethod
    def _is_pinned(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.hostname == "raw.githubusercontent.com":
            reference = [*parts.path.split("/"), "", "", "", ""][3]
            if not _COMMIT.fullmatch(reference):
                msg = (
                    f"{reference or 'nothing'} is a branch or tag, which moves: name the commit, 12 to 40 digits of it"
                )
                raise ValueError(msg)
        return url


class Entry(Options):
    """A model: its files, and the model.yaml of the bundle they make."""

    description: str = Field(min_length=1, max_length=120, description="What it sees and what it is good for.")
    files: tuple[RemoteFile, ...] = Field(min_length=1, description="What to fetch.")
    model: BundleFile = Field(description="The model.yaml to write; checksums are filled in.")

    @property
    def name(self) -> str:
        """Its name, in the catalogue and in every message."""
        return self.model.name

    @property
    def license(self) -> str:
        """The SPDX identifier of its license."""
        return str(self.model.source and self.model.source.license)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @model_validator(mode="after")
    def _files_agree(self) -> "Entry":
        paths = [file.path for file in self.files]
        if len(set(paths)) < len(paths):
            msg = "two of its files have the same path"
            raise ValueError(msg)
        named = [name for file in self.model.files for name in (file.path, file.companion) if name is not None]
        absent = sorted({path for path in (*named, self.model.labels_file or paths[0]) if path not in paths})
        if absent:
            msg = f"model names {', '.join(absent)}, which is not among the files"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _origin_is_known(self) -> "Entry":
        source = self.model.source
        if source is None or source.url is None or not re.fullmatch(r"[A-Za-z0-9.+-]+", source.license or ""):
            msg = "model.source must say url and license, the latter as an SPDX identifier such as Apache-2.0"
            raise ValueError(msg)
        return self

    def content(self) -> dict[str, Any]:
        """What goes into model.yaml: as written, with the checksums of the weights."""
        content = self.model.model_dump(mode="json", exclude_unset=True)
        checksums = {file.path: file.sha256 for file in self.files}
        for file, written in zip(self.model.files, content["files"], strict=True):
            written["sha256"] = checksums[file.path]
            if file.companion is not None:
                written["weights_sha256"] = checksums[file.companion]
        return content


class CatalogFile(Options):
    """A catalogue of models."""

    version: Literal[1] = Field(description="Version of this format.")
    models: tuple[Entry, ...] = Field(min_length=1, description="The models.")

    @model_validator(mode="after")
    def _names_differ(self) -> "CatalogFile":
        names = [entry.name for entry in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"two models are called {', '.join(twice)}"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalogue, and the file it was read from."""

    file: Path
    entries: tuple[Entry, ...]

    def entry(self, name: str) -> Entry:
        """The model of that name. Raises ConfigError that proposes the one meant."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        msg = f"no model {name} in the catalogue{did_you_mean(name, [entry.name for entry in self.entries])}"
        raise ConfigError(msg)


def read_catalog(file: Path = SHIPPED) -> Catalog:
    """Read a catalogue. Raises ConfigError with everything that is wrong with it, each with its place."""
    try:
        document, problems = read_document(file)
    except DocumentError as error:
        raise ConfigError(str(error.problem)) from error
    content, found = validate(document, CatalogFile)
    problems += found
    if content is None or problems:
        raise ConfigError([str(problem) for problem in sorted(problems)])
    return Catalog(file, content.models)
