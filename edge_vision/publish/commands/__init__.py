"""Commands that come in where messages go out."""
