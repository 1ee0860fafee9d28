"""Reads what people say of pictures: one word or text for each, from a CSV file."""

import csv
from pathlib import Path

from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_file


def read_labeling(file: Path, columns: tuple[str, ...], *, empty: bool) -> dict[str, str]:
    """What is said of each picture: a CSV file in UTF-8 with the column `file` and one of `columns`, the first found.

    `empty` tells whether nothing may be said of a picture. Raises ConfigError that names the file, the line and what it
    needs.
    """
    if why := why_not_file(file):
        msg = f"{file}: {why}"
        raise ConfigError(msg)
    said: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            there = rows.fieldnames or ()
            column = next((name for name in columns if name in there), None)
            if column is None or "file" not in there:
                has, (first, other) = ", ".join(there) or "nothing", columns
                msg = f"{file}:1: needs the columns file and {first} (or {other}), has {has[:200]}"
                raise ConfigError(msg)
            for row in rows:
                name, text = row["file"], row[column]
                if not name or text is None or name in said or not (empty or text.strip()):
                    what = f"{name} is there twice" if name in said else f"needs a file and a {column}"
                    msg = f"{file}:{rows.line_num}: {what}"
                    raise ConfigError(msg)
                said[name] = text.strip()
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{file}: is not CSV in UTF-8: {error}"
        raise ConfigError(msg) from error
    return said
