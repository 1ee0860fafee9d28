"""What a model is: bundles, and the proof that they are whole."""
