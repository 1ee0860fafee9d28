"""Step 6: Scene → messages → the world. Each kind of sink is one options class, one module, one row in `table`."""
