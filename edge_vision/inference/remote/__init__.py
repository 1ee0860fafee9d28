"""Asks a server for its answers over the Open Inference Protocol, version 2, by HTTP or gRPC."""
