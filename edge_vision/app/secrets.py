"""Whether every secret and certificate that a site names is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_vision.config.site import CERTIFICATES, Site
from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_file
from edge_vision.core.options import Options, Secret
from edge_vision.publish.zeromq.options import ZeromqOptions


def check_secrets(site: Site) -> None:
    """Fail at start, not at two in the morning, when one cannot be read. Raises ConfigError that never shows it."""
    for options in (*(camera.source for camera in site.cameras), *site.publish):
        if isinstance(options, ZeromqOptions):
            options.check_secrets()
        what = getattr(options, "shown_url", None) or getattr(options, "host", None) or options.kind
        for name, value in _named(options):
            try:
                if isinstance(value, Secret):
                    value.reveal()
            except ConfigError as error:
                msg = f"{what}: {name}: {error}"
                raise ConfigError(msg) from None
            if isinstance(value, Path) and (why := why_not_file(value)):
                msg = f"{what}: {value}: {why}"
                raise ConfigError(msg)


def _named(options: Options) -> Iterator[tuple[str, Any]]:
    """Every secret and certificate of something, and of what is in it, by name."""
    for name in type(options).model_fields:
        value = getattr(options, name)
        for key, one in value.items() if isinstance(value, dict) else ((name, value),):
            called = f"{name.removesuffix('s')} {key}" if isinstance(value, dict) else name
            if isinstance(one, Secret) or (name in CERTIFICATES and isinstance(one, Path)):
                yield called, one
            elif isinstance(one, Options):
                yield from ((f"{called}.{inner}", found) for inner, found in _named(one))
