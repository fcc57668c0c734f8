"""The training loop, its tasks, and its log."""
