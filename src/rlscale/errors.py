"""Errors that a user can act on.

Each is one clear sentence: what is wrong, where, what is allowed, the nearest match. The command line prints it and
exits with code 2; anything else that escapes is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input, said in one sentence."""


def did_you_mean(word: object, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean NEAREST?"``, or an empty string where nothing is near."""
    near = get_close_matches(str(word), list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def first_line(error: Exception) -> str:
    """Return the first line of an error's text that is not empty, or its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
