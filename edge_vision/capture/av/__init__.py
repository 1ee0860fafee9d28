"""Cameras and recordings through PyAV: packets and pictures."""
