"""Looks at files without ever stumbling: what is wrong with a path is a sentence, not an exception."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path


def why_not_file(path: Path) -> str:
    """Why `path` is no regular file that can be read; empty when it is."""
    return _why_not(path, stat.S_ISREG, "file", os.R_OK)


def why_not_folder(path: Path) -> str:
    """Why `path` is no folder that can be listed; empty when it is."""
    return _why_not(path, stat.S_ISDIR, "folder", os.R_OK | os.X_OK)


def _why_not(path: Path, kind: Callable[[int], bool], name: str, access: int) -> str:
    try:
        mode = path.stat().st_mode
        allowed = os.access(path, access)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in {errno.ENOENT, errno.ENOTDIR}:
            return f"no such {name}"
        return str(getattr(error, "strerror", None) or error)
    if not kind(mode):
        return f"is not a {name}"
    return "" if allowed else os.strerror(errno.EACCES)
