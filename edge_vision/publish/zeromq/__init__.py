"""Messages on a ZeroMQ socket, and what was missed on another."""
