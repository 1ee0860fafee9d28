"""Remembers what is wrong with something, and whether hearing it again is news."""

import re

from edge_vision.core.errors import EdgeVisionError

_FIGURES = re.compile(r"\d+(\.\d+)?")
_MOST_HEARD = 64
"""Errors that are told; if there are more, the rest are not."""


def traceback_of(error: Exception) -> Exception | None:
    """What to log a traceback of: an error that nobody raised on purpose is a bug, and worth it."""
    return None if isinstance(error, EdgeVisionError) else error


class Trouble:
    """The newest error of a camera or sink; empty while all is well."""

    def __init__(self) -> None:
        self.text = ""
        self._known = ""
        self._heard: set[str] = set()

    def is_news(self, error: BaseException) -> bool:
        """Note an error; whether it differs from the one before by more than its figures (a duration, a count)."""
        self.text = str(error)
        known, self._known = self._known, _FIGURES.sub("#", self.text)
        return known != self._known

    def is_unheard(self, error: BaseException) -> bool:
        """Whether an error was never noted here: what many things fail with in turn is told once for each."""
        known = _FIGURES.sub("#", str(error))
        news = known not in self._heard and len(self._heard) < _MOST_HEARD
        if news:
            self._heard.add(known)
        return news

    def clear(self) -> bool:
        """All is well again; whether it was not before."""
        before, self.text, self._known = self._known, "", ""
        return before != ""
