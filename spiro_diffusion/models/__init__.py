"""Networks and samplers, one a file, and their checkpoints."""
