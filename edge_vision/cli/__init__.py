"""The `edge-vision` command: one module per subcommand."""
