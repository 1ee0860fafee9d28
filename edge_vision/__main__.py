"""The `edge-vision` command."""

import sys

from edge_vision.cli.command import run_command


def main() -> None:
    """Run the command line and end with its exit code."""
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
