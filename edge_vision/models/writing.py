"""Writes a model bundle: whole, or not at all."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from edge_vision.core.errors import ConfigError
from edge_vision.models.bundle import Bundle, read_bundle


def write_bundle(
    target: Path, content: Mapping[str, Any], files: Mapping[str, Path | bytes], golden: Path | None = None
) -> Bundle:
    """Make the folder `target`: `content` as model.yaml, `files` by their paths inside it, and the golden data.

    It is made beside `target`, read like any bundle, and put in place only when nothing is wrong with it. Raises
    ConfigError when `target` exists already, or with every problem of what would have been written.
    """
    if target.exists():
        msg = f"{target}: exists already; a bundle is never written over: name a new folder"
        raise ConfigError(msg)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        for name, source in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                path.write_bytes(source)
            elif source.is_dir():
                shutil.copytree(source, path)
            else:
                shutil.copyfile(source, path)
        if golden is not None:
            shutil.copytree(golden, fresh / golden.name)
        text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
        (fresh / "model.yaml").write_text(text, encoding="utf-8")
        bundle, problems = read_bundle(fresh)
        if bundle is None:
            raise ConfigError([str(problem) for problem in sorted(problems)])
        fresh.rename(target)
    except OSError as error:
        msg = f"{target}: cannot be written: {error}"
        raise ConfigError(msg) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    written, problems = read_bundle(target)
    assert written is not None, problems
    return written
