"""Step 5: Scene → richer Scene. Each stage is one options class, one module, one row in `table`."""
