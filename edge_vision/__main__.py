"""The `edge-vision` command."""

import sys


def main() -> None:
    """Run the command line and end with its exit code."""
    try:
        from edge_vision.cli.command import run_command

        code = run_command(sys.argv[1:])
    except KeyboardInterrupt:  # also while everything is being imported
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
