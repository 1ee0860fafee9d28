"""`edge-vision probe`: what this machine is and what works on it."""

import argparse
import json
from typing import Any

from edge_vision.core.errors import EXIT_DONE


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("probe", help="say what this machine is, and which runtimes and devices work")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_probe)


def _probe(options: argparse.Namespace) -> int:
    from edge_vision.app.probe import probe_machine

    facts = probe_machine()
    if options.json:
        print(json.dumps(facts, indent=2))
        return EXIT_DONE
    machine, opencv, pyav = facts["machine"], facts["opencv"], facts["pyav"]
    board = f"{machine['board']}, " if machine["board"] else ""
    print(f"edge_vision {facts['edge_vision']} on Python {machine['python']}")
    print(f"machine   {board}{machine['processor']}, {machine['cores']} cores, {machine['memory_mb']} MB memory")
    print(f"system    {machine['system']} ({machine['architecture']})")
    driver = machine["nvidia_driver"] or "none"
    print(f"gpu       NVIDIA driver {driver}; render devices {_list(machine['render_devices'])}")
    for backend in facts["backends"]:
        mark = "works" if backend["available"] else "no   "
        detail = f"{backend['version']}  devices {_list(backend['devices'])}  reads {_list(backend['formats'])}"
        print(f"backend   {backend['name']:<12} {mark} {detail if backend['available'] else backend['reason']}")
    if opencv["available"]:
        print(f"opencv    {opencv['version']} from {opencv['file']}; video: {_list(opencv['video'])}")
    else:
        print(f"opencv    {opencv['reason']}")
    if pyav["available"]:
        print(f"pyav      {pyav['version']} from {pyav['file']}; libavcodec {pyav['libraries'].get('libavcodec')}")
    else:
        print(f"pyav      {pyav['reason']}")
    print(f"cameras   {_list(facts['cameras'])}")
    return EXIT_DONE


def _list(items: list[str]) -> str:
    return ", ".join(items) or "none"
