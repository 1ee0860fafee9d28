"""What a model file is: its format, and what its graph says."""
