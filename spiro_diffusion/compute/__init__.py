"""Where and how the computing is done: devices, processes, CUDA graphs, fused kernels."""
