"""Reads a site file and the pipelines it names, and finds everything that is wrong with them at once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_vision.capture.options import SourceOptions
from edge_vision.config.evidence import evidence_problems
from edge_vision.config.options import SiteFile
from edge_vision.config.pipeline import Spot, StageDraft, find_pipeline, known_pipelines, read_pipeline
from edge_vision.core.commands import TOPIC_WORDS
from edge_vision.core.document import Document, DocumentError, Problem, read_document
from edge_vision.core.files import why_not_file, why_not_folder
from edge_vision.core.options import IDENTIFIER
from edge_vision.core.schema_errors import did_you_mean, validate
from edge_vision.core.stages import ModelStageOptions
from edge_vision.publish.evidence.options import EvidenceOptions
from edge_vision.publish.http.address import origin_of
from edge_vision.publish.options import OutboxOptions, SinkOptions

_ADDRESSES: Final[tuple[tuple[str, ...], ...]] = (
    ("bind",),
    ("path",),
    ("url",),
    ("replay", "bind"),
    ("commands", "bind"),
)
"""Where a sink says where messages go, or are asked for."""
CERTIFICATES: Final = ("ca_file", "certificate", "key")
"""What the files of TLS are called, wherever they are named."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of a site, resolved: its source and the stages of its pipeline in full."""

    id: str
    source: SourceOptions
    pipeline: str
    stages: tuple[Any, ...]
    priority: int
    confidence: tuple[tuple[int, str], ...] = ()
    """The options that `confidence` sets in this pipeline: the place of the stage, and the option's name."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site file, resolved."""

    file: Path
    id: str
    cameras: tuple[Camera, ...]
    publish: tuple[SinkOptions, ...]
    state_dir: Path | None = None
    outbox: OutboxOptions = field(default_factory=OutboxOptions)
    evidence: EvidenceOptions | None = None


@dataclass(frozen=True, slots=True)
class SiteDraft:
    """What could be read of a site file, with every problem; `site` is None when there is one."""

    site: Site | None
    cameras: tuple[tuple[StageDraft, ...], ...]
    problems: tuple[Problem, ...]


def read_site(file: Path) -> SiteDraft:
    """Read a site file. A schema error in one place never hides what is wrong in another."""
    try:
        document, problems = read_document(file)
    except DocumentError as error:
        return SiteDraft(None, (), (error.problem,))
    parsed, found = validate(document, SiteFile)
    problems += found
    problems += _double_ids(document)
    problems += _ids_of_topics(document)
    problems += _missing_files(document)
    problems += _missing_certificates(document)
    problems += _double_sinks(document)
    problems += _double_clients(document)
    problems += _nameless_webhooks(document)
    problems += evidence_problems(document)
    drafts = []
    for number, camera in _mappings(document.data, "cameras"):
        stages, found = _stages(document, number, camera)
        problems += found
        drafts.append(tuple(stages))
    if parsed is None or problems:
        return SiteDraft(None, tuple(drafts), tuple(problems))
    cameras = tuple(
        Camera(
            camera.id,
            camera.source,
            camera.pipeline,
            _stage_options(stages, parsed),
            camera.priority,
            _set_by(stages, "confidence"),
        )
        for camera, stages in zip(parsed.cameras, drafts, strict=True)
    )
    site = Site(file, parsed.site, cameras, parsed.publish, parsed.state_dir, parsed.outbox, parsed.evidence)
    return SiteDraft(site, tuple(drafts), ())


def _stage_options(stages: tuple[StageDraft, ...], site: SiteFile) -> tuple[Any, ...]:
    """The options of a camera's stages, where those that run a model and name no runtimes take the site's."""
    return tuple(
        stage.options.model_copy(update={"backends": site.backends})
        if site.backends is not None and isinstance(stage.options, ModelStageOptions) and "backends" not in stage.raw
        else stage.options
        for stage in stages
    )


def _set_by(stages: tuple[StageDraft, ...], key: str) -> tuple[tuple[int, str], ...]:
    """The stages and options that a key of `with:` sets."""
    return tuple(
        (place, option) for place, stage in enumerate(stages) for option, by in stage.keys.items() if by == key
    )


def _mappings(data: Any, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of a list that are mappings; the schema speaks of the others."""
    entries = data.get(key) if isinstance(data, dict) else None
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield number, entry


def _double_ids(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, camera in _mappings(document.data, "cameras"):
        name, place = camera.get("id"), ("cameras", number, "id")
        if not isinstance(name, str):
            continue
        if name in seen:
            text = f"duplicate id {name!r}; the first is on line {document.values['cameras', seen[name], 'id'][0]}"
            yield document.problem(place, text)
        seen.setdefault(name, number)


def _ids_of_topics(document: Document) -> Iterator[Problem]:
    """A camera called `set` would have its messages where the commands of the site are."""
    for number, camera in _mappings(document.data, "cameras"):
        if camera.get("id") in TOPIC_WORDS:
            text = f"{camera['id']!r} is a word of the topics of commands: choose another name"
            yield document.problem(("cameras", number, "id"), text)


def _double_sinks(document: Document) -> Iterator[Problem]:
    """Two sinks on one address or file would take it from each other; on one URL, post the same messages twice."""
    seen: dict[tuple[str, str], list[tuple[int, tuple[str, ...], dict[str, Any]]]] = {}
    for number, sink in _mappings(document.data, "publish"):
        for place in _ADDRESSES:
            where = _inside(sink, place)
            if not isinstance(where, str) or where.endswith(":*"):
                continue
            earlier = seen.setdefault((place[-1], where), [])
            for first, there, other in earlier:
                told = (first, place) == (number, ("replay", "bind"))  # by the schema
                if not told and (place[-1] != "url" or _share_kinds(sink, other)):
                    text = f"the same as publish[{first}].{'.'.join(there)}"
                    yield document.problem(("publish", number, *place), text)
                    break
            earlier.append((number, place, sink))


def _double_clients(document: Document) -> Iterator[Problem]:
    """Of two clients of one name, a broker throws out one when the other connects: they would do so for ever."""
    seen: dict[tuple[Any, ...], int] = {}
    for number, sink in _mappings(document.data, "publish"):
        if sink.get("kind") != "mqtt":
            continue
        broker = sink.get("host"), sink.get("port", 1883 if sink.get("tls") is None else 8883)
        client = (*map(str, broker), str(sink.get("client_id") or f"edge-vision-{document.data.get('site')}"))
        if client in seen:
            text = f"the broker of publish[{seen[client]}], too: each needs a client_id of its own"
            yield document.problem(("publish", number, "client_id" if "client_id" in sink else "host"), text)
        seen.setdefault(client, number)


def _nameless_webhooks(document: Document) -> Iterator[Problem]:
    """The outbox would not know what waits for which: a path is often a secret, and in no name."""
    seen: dict[str, int] = {}
    for number, sink in _mappings(document.data, "publish"):
        if sink.get("kind") != "http" or not isinstance(url := sink.get("url"), str):
            continue
        name = sink.get("name")
        try:
            known = name if isinstance(name, str) else origin_of(url)
        except ValueError:  # the schema says so
            continue
        if known in seen:
            what = "named like" if isinstance(name, str) else "on the same server as"
            text = f"{what} publish[{seen[known]}]: each needs a name of its own, by which what waits for it is known"
            yield document.problem(("publish", number, "name" if isinstance(name, str) else "url"), text)
        seen.setdefault(known, number)


def _inside(sink: dict[str, Any], place: tuple[str, ...]) -> Any:
    """What a sink says at a place; nothing where there is no such place."""
    value: Any = sink
    for key in place:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _share_kinds(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether there is a kind of message that both sinks take; the schema speaks of what is no list."""
    kinds, others = one.get("kinds"), other.get("kinds")
    return not (isinstance(kinds, list) and isinstance(others, list)) or any(kind in others for kind in kinds)


def _missing_certificates(document: Document) -> Iterator[Problem]:
    """Certificates and keys of sinks that are not there, or not to be read; what is in them shows in use."""
    for number, sink in _mappings(document.data, "publish"):
        for room in ((), ("tls",)):
            for key in CERTIFICATES:
                file = _inside(sink, (*room, key))
                if isinstance(file, str) and not file.startswith("~") and (why := why_not_file(document.folder / file)):
                    yield document.problem(("publish", number, *room, key), f"{document.folder / file}: {why}")


def _missing_files(document: Document) -> Iterator[Problem]:
    """Recordings and folders that are not there; cameras may come later."""
    for number, camera in _mappings(document.data, "cameras"):
        source = camera.get("source")
        if not isinstance(source, dict) or not isinstance(source.get("path"), str) or source["path"].startswith("~"):
            continue
        look = {"file": why_not_file, "images": why_not_folder}.get(str(source.get("kind")))
        if look is None:
            continue
        place = ("cameras", number, "source", "path")
        if "://" in source["path"]:  # and perhaps a password in it
            yield document.problem(place, "is an address, not a path: use kind: rtsp or kind: http")
        elif why := look(document.folder / source["path"]):
            yield document.problem(place, f"{document.folder / source['path']}: {why}")


def _stages(document: Document, number: int, camera: dict[str, Any]) -> tuple[list[StageDraft], list[Problem]]:
    """The pipeline of a camera, with its settings, as far as it can be read."""
    name, settings = camera.get("pipeline"), camera.get("with", {})
    if not isinstance(name, str) or not re.fullmatch(IDENTIFIER, name):
        return [], []  # the schema says so
    folder = document.folder
    file = find_pipeline(name, folder, document.file)
    if file is None:
        hint = did_you_mean(name, known_pipelines(folder))
        place = ("cameras", number, "pipeline")
        return [], [document.problem(place, f"unknown pipeline {name!r}{hint}")]
    keys = settings if isinstance(settings, dict) else {}
    spots = {key: Spot(document, ("cameras", number, "with", key)) for key in keys}
    return read_pipeline(file, spots, Spot(document, ("cameras", number, "with")))
