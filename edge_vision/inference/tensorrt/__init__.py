"""TensorRT, of data center GPUs, JetPack and RTX: its library, CUDA, engines and who builds them."""
