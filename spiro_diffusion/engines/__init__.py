"""Inference engines for curves and completions: PyTorch with checkpoints, or onnxruntime with an export."""
