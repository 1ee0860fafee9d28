"""Whether a model sees: golden data, the gate, ground truth, and how fast it is beside that."""
