"""`edge-vision models`: everything about model bundles; one module per subcommand."""
