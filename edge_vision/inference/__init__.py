"""Step 3: ModelInput → Tensors, on the best runtime this machine has; one module or folder per runtime, and `remote/` for servers."""
