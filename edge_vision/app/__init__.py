"""Builds a site and runs it: the only layer that knows every step."""
