"""One log style: time, level, words; to standard error."""

import logging
import os
import sys

_SYSTEMD = {logging.DEBUG: "<7>", logging.INFO: "<6>", logging.WARNING: "<4>", logging.ERROR: "<3>"}


class _Lines(logging.Formatter):
    """Plain lines; under systemd with the journal's level mark and without the time, which the journal has."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """One record; lines after the first carry the same level mark."""
        text = super().format(record)
        if not self._journal:
            return text
        mark = _SYSTEMD.get(record.levelno, "<3>")
        return "\n".join(mark + line for line in text.splitlines())


def set_up_logging(level: str = "INFO") -> None:
    """Send the package's log to standard error."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Lines(journal="JOURNAL_STREAM" in os.environ))
    root = logging.getLogger("edge_vision")
    root.handlers[:] = [stream]
    root.setLevel(level)
    root.propagate = False
