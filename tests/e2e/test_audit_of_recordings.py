"""`edge-vision audit` of files and pipes, and the state that it keeps."""

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from audited import message
from conftest import Start

from edge_vision.cli.command import run_command
from edge_vision.core.errors import ConfigError
from edge_vision.publish.audit.keeping import keep


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of messages, one per line."""

    def write(*bodies: bytes, name: str = "recorded.jsonl") -> Path:
        file = tmp_path / name
        file.write_bytes(b"".join(body + b"\n" for body in bodies))
        return file

    return write


def test_recordings_are_read_in_order_and_from_standard_input(
    recording: Callable[..., Path], edge_vision: Start, tmp_path: Path
) -> None:
    """Two files are one stream; so is a pipe; an expectation is checked against it."""
    first = recording(message(1), message(2), name="a")
    second = recording(message(3), name="b")
    wanted = recording(message(1), message(4), name="wanted")
    assert run_command(["audit", "--file", str(first), str(second), "--from-start"]) == 0
    assert run_command(["audit", "--file", str(second), "--from-start"]) == 1
    assert run_command(["audit", "--file", str(first), str(second), "--expect", str(wanted)]) == 1
    assert run_command(["audit", "--file", str(tmp_path / "none")]) == 78
    assert run_command(["audit", "--file", str(tmp_path)]) == 78
    assert run_command(["audit", "--file", str(first), "--expect", str(recording(b"{}", name="bad"))]) == 78
    half = recording(message(1), message(9)[:50], message(2), name="half")
    assert run_command(["audit", "--file", str(first), "--expect", str(half)]) == 0, "a process was killed half-way"
    piped = edge_vision("audit", "--file", "-", "--json", stdin=-1)
    output, _ = piped.communicate("\n".join(body.decode() for body in (message(1), message(3))), timeout=60)
    assert (piped.returncode, json.loads(output)["missing"]) == (1, 1)


def test_an_audit_of_recordings_goes_on_day_after_day(
    recording: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--state`: the next file continues the last; what is no such state is refused, and kept."""
    state = tmp_path / "kept" / "audit.json"
    days = [[1, 2, 3], [4, 6], [5, 3]]
    codes = [
        run_command(["audit", "--state", str(state), "--json", "--file", str(recording(*map(message, numbers)))])
        for numbers in days
    ]
    assert codes == [0, 1, 0]
    report = json.loads("{" + capsys.readouterr().out.rpartition("\n{")[2])
    assert (report["received"], report["out_of_order"], report["duplicates"]["uncompared"]) == (7, 1, 1)
    state.write_text("[]")
    assert run_command(["audit", "--state", str(state), "--file", str(recording(message(1)))]) == 78
    assert state.read_text() == "[]"
    state.write_text('{"version": 9, "turn": 1, "book": {}}')
    assert run_command(["audit", "--state", str(state), "--file", str(recording(message(1)))]) == 78
    assert "another version" in capsys.readouterr().err


def test_a_full_disk_is_no_loss(edge_vision: Start, tmp_path: Path) -> None:
    """What the journal does not take is not acknowledged, and leaves no half line that hides what follows."""

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    state = tmp_path / "audit.json"
    lines = "\n".join(message(seq).decode() for seq in range(1, 101))
    audit = edge_vision("audit", "--file", "-", "--state", state, stdin=-1, preexec_fn=small)
    _, errors = audit.communicate(lines, timeout=60)
    assert (audit.returncode, "audit.json: " in errors) == (70, True)
    journal = state.with_name("audit.json.journal").read_bytes()
    assert 9_000 < len(journal) <= 10_000
    assert journal.endswith(b"\n")
    audit = edge_vision("audit", "--file", "-", "--state", state, "--json", stdin=-1)
    output, errors = audit.communicate(lines, timeout=60)
    assert audit.returncode == 0, errors
    stream = json.loads(output)["streams"][0]
    assert (stream["received"], stream["duplicates"]["uncompared"]) == (100, journal.count(b"\n") - 1)
    assert stream["wall_ms"] == {}, "a recording has no time of arrival, nor has its journal"


def test_two_audits_do_not_share_a_state(tmp_path: Path) -> None:
    """The second one is refused while the first is at work."""
    with keep(tmp_path / "a.json"), pytest.raises(ConfigError, match="another audit"), keep(tmp_path / "a.json"):
        pass
