"""Text as OpenCV can draw it: its fonts have the letters of ASCII only, and draw `?` for every other."""

import unicodedata


def drawable(text: str) -> str:
    """The text in ASCII: accents are left off, `<U+4EAC>` stands for a letter that has no such form.

    Nothing is lost or mistaken for something else, as with `?`. A font for every script would be a library and some
    megabytes; messages and what `edge-vision try` prints have the text as it was read.
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_letter, text))


def _letter(letter: str) -> str:
    if letter.isascii():
        return letter if letter.isprintable() else " "
    plain = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    return plain if plain.isascii() and plain.isprintable() and plain else f"<U+{ord(letter):04X}>"
