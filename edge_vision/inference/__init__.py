"""Step 3: ModelInput → Tensors, on the best runtime this machine has; one module per runtime."""
