"""Step 1: camera → Frame. Each kind of source is one options class, one module, one row in `table`."""
