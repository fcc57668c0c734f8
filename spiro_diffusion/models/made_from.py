"""What a generator was trained on, read from its checkpoint without PyTorch."""
