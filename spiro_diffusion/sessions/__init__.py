"""A person's session as a clinician reads it: best values, grades, pattern, change, and a printable page."""

from spiro_diffusion.sessions.interpretation import Interpretation, interpret
from spiro_diffusion.sessions.reading import read_session
from spiro_diffusion.sessions.records import Blow, Decision, Header, Person, Previous, Session, Visit

__all__ = [
    "Blow",
    "Decision",
    "Header",
    "Interpretation",
    "Person",
    "Previous",
    "Session",
    "Visit",
    "interpret",
    "read_session",
]
