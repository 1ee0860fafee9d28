"""The consumer's side: what was received, what is missing, and whether somebody told of it."""
