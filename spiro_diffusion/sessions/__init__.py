"""A session as a clinician reads it."""
