"""Synthetic populations as folders ready to publish: parts, data card, metadata, checksums."""
