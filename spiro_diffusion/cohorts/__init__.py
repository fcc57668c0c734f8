"""Synthetic populations as publishable folders: parts, data card, metadata, checksums."""
