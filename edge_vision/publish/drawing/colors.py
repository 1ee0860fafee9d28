"""Colors that are easy to tell apart on any picture."""

from typing import Final, TypeAlias

Color: TypeAlias = tuple[int, int, int]
"""Blue, green and red, 0 to 255."""

WHITE: Final[Color] = (255, 255, 255)
BLACK: Final[Color] = (0, 0, 0)
LINE: Final[Color] = (0, 215, 255)
ZONE: Final[Color] = (255, 160, 30)
PANEL: Final[Color] = (40, 40, 40)
VERDICTS: Final[dict[object, Color]] = {"OK": (60, 190, 40), "NG": (40, 40, 235)}
"""Green and red: what is judged is seen at a glance."""


def color_of(number: int) -> Color:
    """A strong color per number; neighbors are far apart in hue (the golden angle)."""
    hue = (number * 0.618033988749895 + 0.08) % 1.0 * 6.0
    rising = 1.0 - abs(hue % 2.0 - 1.0)
    red, green, blue = (
        (1.0, rising, 0.0),
        (rising, 1.0, 0.0),
        (0.0, 1.0, rising),
        (0.0, rising, 1.0),
        (rising, 0.0, 1.0),
        (1.0, 0.0, rising),
    )[int(hue)]
    return round(30 + 225 * blue), round(30 + 225 * green), round(30 + 225 * red)


def ink_on(color: Color) -> Color:
    """Black or white, whichever is legible on a color."""
    dark = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] < 140  # noqa: PLR2004 - BT.601 luma, half way
    return WHITE if dark else BLACK
