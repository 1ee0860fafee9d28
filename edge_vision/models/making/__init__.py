"""Another file made of a bundle's: converted or quantized, and let in only when it sees the same."""
