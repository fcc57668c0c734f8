"""What computes curves and completions: PyTorch with the trained checkpoints, or onnxruntime with their export."""
