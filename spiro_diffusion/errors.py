"""The one error a user can cause; it ends a program with one line, not a traceback."""


class SpiroError(Exception):
    """Something a user can mend: the message says what is wrong, where, and what to do."""
