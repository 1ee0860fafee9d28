"""Public models, pinned by size and sha256, and how they are fetched."""
