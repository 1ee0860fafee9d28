"""A bar on a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable

_BAR = 30


def bar(unit: str) -> Callable[[int, int], None]:
    """A function that is told what is done and what is expected (0 when unknown), and draws it."""

    def draw(done: int, expected: int) -> None:
        if not sys.stderr.isatty():
            return
        if expected:
            filled = min(_BAR, _BAR * done // expected)
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{expected} {unit}")
            sys.stderr.write("\n" if done == expected else "")
        else:
            sys.stderr.write(f"\r{done} {unit}")
        sys.stderr.flush()

    return draw
