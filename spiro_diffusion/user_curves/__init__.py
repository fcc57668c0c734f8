"""A person's own files as flow every 10 ms."""
