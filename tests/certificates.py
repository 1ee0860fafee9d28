"""Certificates for tests, made by openssl: authorities, servers, clients, and those that have expired."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = "ec -pkeyopt ec_paramgen_curve:prime256v1"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


def make_authority(folder: Path, name: str) -> Pair:
    """A certificate authority that is trusted by whoever is told to."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        f"req -x509 -newkey {_CURVE} -nodes -days 2 -subj /CN={name}".split(),
        *("-keyout", pair.key, "-out", pair.certificate),
    )
    return pair


def issue(authority: Pair, name: str, *, days: int = 2, names: str = "IP:127.0.0.1", password: str = "") -> Pair:
    """A certificate of an authority, in its folder; -1 day: one that expired yesterday. The key may be encrypted."""
    folder = authority.certificate.parent
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    request, extensions = folder / f"{name}.csr", folder / f"{name}.cnf"
    extensions.write_text(f"subjectAltName={names}\n")
    _openssl(f"req -newkey {_CURVE} -nodes -subj /CN={name}".split(), *("-keyout", pair.key, "-out", request))
    _openssl(
        ["x509", "-req", "-days", str(days)],
        *("-in", request, "-out", pair.certificate, "-extfile", extensions),
        *("-CA", authority.certificate, "-CAkey", authority.key),
    )
    if password:
        plain = pair.key.rename(folder / f"{name}.plain.key")
        _openssl(["ec", "-aes256", "-passout", f"pass:{password}"], "-in", plain, "-out", pair.key)
        plain.unlink()
    return pair


def _openssl(words: list[str], *more: str | Path) -> None:
    done = subprocess.run(["openssl", *words, *map(str, more)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
