"""Step 3: ModelInput → Tensors, on the best runtime this machine has.

One module or folder per runtime; `remote/` asks servers.
"""
