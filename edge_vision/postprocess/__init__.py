"""Step 4: Tensors → Detections. One module per output format; none knows which runtime made the numbers."""
