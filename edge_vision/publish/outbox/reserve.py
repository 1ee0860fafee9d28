"""A file that takes up room until the outbox needs it: on a full disk, even deleting needs some."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MOST: Final = 8_000_000
_LEAST: Final = 200_000
_PART: Final = 8
"""Of a small disk, an eighth."""
_ROOM: Final = 4
"""It is made anew when so many times its size are free."""


class Reserve:
    """Disk that is set apart in a folder; nothing here raises."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "outbox.reserve"
        self._folder = folder
        self.size = _LEAST
        with suppress(OSError):
            disk = os.statvfs(folder)
            self.size = max(_LEAST, min(_MOST, disk.f_blocks * disk.f_frsize // _PART))

    @property
    def roomy(self) -> bool:
        """Whether the disk has much more than the reserve to spare."""
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize > _ROOM * self.size

    def make(self) -> None:
        """Set it apart where there is room."""
        with suppress(OSError):
            if self._file.exists() or not self.roomy:
                return
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(file, 0, self.size)
            except OSError:
                self.release()
            finally:
                os.close(file)

    def release(self) -> bool:
        """Give it up; whether there was any."""
        try:
            self._file.unlink()
        except OSError:
            return False
        return True
