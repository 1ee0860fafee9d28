"""The command line of `edge-vision audit`."""

import pytest

from edge_vision.cli.command import run_command


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--mqtt broker --file x",
        "--mqtt user@broker",
        "--mqtt mqtt://broker",
        "--mqtt broker:0",
        "--mqtt broker:70000",
        "--file x --seconds 3",
        "--file x --client-id a",
        "--zeromq tcp://h:1 --ca x",
        "--mqtt h --cert x",
        "--mqtt h --password-file x",
        "--zeromq tcp://h:1 --secret-key x",
        "--mqtt h --replay tcp://h:1",
        "--mqtt h --kinds line_crosed",
        "--mqtt h --kinds gap --strict",
        "--mqtt h --idle 0",
    ],
)
def test_a_wrong_command_line_ends_in_2(arguments: str) -> None:
    """What does not go together is said before anything is opened."""
    with pytest.raises(SystemExit) as ended:
        run_command(["audit", *arguments.split()])
    assert ended.value.code == 2


def test_help_says_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever builds a drill on it reads it there."""
    with pytest.raises(SystemExit):
        run_command(["audit", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in ("0 no loss", "1 loss", "2 wrong command line", "3 nothing received", "78 wrong file"):
        assert words in text
