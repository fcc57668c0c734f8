"""The training loop, the tasks it trains, and its log."""
