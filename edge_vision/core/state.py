"""Where a site keeps what outlives the process."""

import os
from pathlib import Path


def state_folder(site: str, given: Path | None) -> Path:
    """The folder that was given, or systemd's for the service, or the user's (XDG base directories); none is made."""
    if given is not None:
        return given
    by_systemd = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if by_systemd:
        return Path(by_systemd)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local/state") / "edge-vision" / site
