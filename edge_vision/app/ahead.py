"""Builds ahead of time what the runtimes of a site would otherwise miss, or make at every start."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edge_vision.app.check import Checked
from edge_vision.app.engines import load_options, plan_threads
from edge_vision.core.errors import BackendError, BackendUnavailableError, MissingLibraryError
from edge_vision.core.files import cache_folder
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.core.stages import ModelStageOptions
from edge_vision.inference.select import load, usable_files
from edge_vision.inference.tensorrt import cuda, engine_cache
from edge_vision.inference.tensorrt.backend import check_precision
from edge_vision.inference.tensorrt.builder import Profile, build, computed, key_of
from edge_vision.inference.tensorrt.library import Library, find_library
from edge_vision.inference.trial import load_after_trial
from edge_vision.models.bundle import Bundle

ABSENT: Final = "not here"
FAILED: Final = "failed"
BUILT: Final = "built"
THERE: Final = "there already"
LOADED: Final = "loaded"

Watch = Callable[[str], Callable[[int, int], None]]
"""Is told what is being built, and gives a function that is told what is done and what is expected."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a model's file on a runtime: one of the words above, and what there is to say of it."""

    model: str
    file: str
    backend: str
    precision: str
    state: str
    text: str


def build_ahead(checked: Checked, precision: str | None, watch: Watch) -> Iterator[Row]:
    """Build for every model of a site and every runtime it may run on; `precision` replaces those of the site."""
    cores, cameras = len(os.sched_getaffinity(0)), len(checked.site.cameras)
    done: set[tuple[object, ...]] = set()
    for camera in checked.site.cameras:
        for options in camera.stages:
            if not isinstance(options, ModelStageOptions):
                continue
            plan = plan_threads(cores, cameras)
            asked = load_options(options, plan, cameras)
            asked = replace(asked, precision=precision or asked.precision)
            bundle = checked.bundles[options.model]
            for name in options.backends:
                if (options.model, name, asked) not in done:
                    done.add((options.model, name, asked))
                    made = _tensorrt(bundle, asked, watch) if name == "tensorrt" else _loaded(bundle, name, asked)
                    yield from made


def complete(rows: list[Row]) -> bool:
    """Whether no build failed, and every model has a runtime here that is ready."""
    ready = {row.model for row in rows if row.state not in {ABSENT, FAILED}}
    return all(row.state != FAILED and row.model in ready for row in rows)


def _tensorrt(bundle: Bundle, asked: LoadOptions, watch: Watch) -> Iterator[Row]:
    model, gpu, no_gpu = bundle.spec.name, None, ""
    try:
        gpu = cuda.gpu()
    except BackendUnavailableError as error:
        no_gpu = str(error)
    try:
        library = find_library()
    except MissingLibraryError as error:
        reason = "; ".join(filter(None, (no_gpu, str(error))))
        yield Row(model, "", "tensorrt", asked.precision, ABSENT, reason)
        return
    if gpu is None and not library.portable:
        reason = f"{no_gpu}; {library.runtime} builds engines on the GPU that runs them"
        yield Row(model, "", "tensorrt", asked.precision, ABSENT, reason)
        return
    quantized = asked.precision == "int8"
    files = [file for file in bundle.spec.files_in(("onnx",)) if (file.precision == "int8") == quantized]
    if not files:
        reason = f"the bundle holds no ONNX file for {asked.precision}"
        yield Row(model, "", "tensorrt", asked.precision, ABSENT, reason)
    for file in files:
        shown = computed(file, asked.precision)
        try:
            check_precision(library, file, asked.precision)
        except BackendError as error:
            yield Row(model, bundle.path_of(file), library.runtime, shown, ABSENT, str(error))
            continue
        try:
            state, text = _engine(library, gpu, file, asked, watch)
        except BackendError as error:
            state, text = FAILED, str(error)
        else:
            text += "" if gpu is not None else f"; not run: {no_gpu}"
        yield Row(model, bundle.path_of(file), library.runtime, shown, state, text)


def _engine(
    library: Library, gpu: cuda.Gpu | None, file: ModelFile, asked: LoadOptions, watch: Watch
) -> tuple[str, str]:
    profile = Profile.up_to(asked.batch, file.input_shape)
    key = key_of(library, gpu, file, asked.precision, profile)
    entry, state = engine_cache.find(key), THERE
    if entry is None:
        tell, started = watch(f"% of {file.path.name}"), time.monotonic()
        plan = build(library, gpu, file, asked.precision, profile, tell)
        tell(100, 100)
        entry, state = engine_cache.keep(key, plan, file.path.name, time.monotonic() - started), BUILT
    text = f"{entry.size / 1e6:.1f} MB, built in {entry.build_s:.1f} s for {key.device}"
    if gpu is not None:
        started = time.monotonic()
        load("tensorrt", file, asked)
        text += f"; loaded and run in {time.monotonic() - started:.1f} s"
    return state, text


def _loaded(bundle: Bundle, name: str, asked: LoadOptions) -> Iterator[Row]:
    """Load the model once: it shows that the runtime can, and what the runtime compiles it keeps."""
    try:
        files = usable_files(name, bundle.spec, asked.precision)
    except BackendError as error:
        yield Row(bundle.spec.name, "", name, asked.precision, ABSENT, str(error))
        return
    for file in files:
        before, started = _size(cache_folder()), time.monotonic()
        try:
            load_after_trial(name, file, asked)
            grown = _size(cache_folder()) - before
            kept = f"kept {grown / 1e6:.1f} MB" if grown > 0 else "nothing new to keep"
            state, text = LOADED, f"in {time.monotonic() - started:.1f} s, {kept}"
        except BackendError as error:
            state, text = ABSENT, str(error)
        yield Row(bundle.spec.name, bundle.path_of(file), name, asked.precision, state, text)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total
