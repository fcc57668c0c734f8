"""Completion of interrupted efforts."""
