"""Devices, processes, CUDA graphs and fused kernels."""
