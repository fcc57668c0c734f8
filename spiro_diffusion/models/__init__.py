"""Networks and samplers, one a module, and their checkpoints."""
