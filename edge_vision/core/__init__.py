"""The values that pass between the steps, and the sockets that steps plug into; no threads, no input or output."""
