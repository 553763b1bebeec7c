"""The errors that users see: what they gave cannot be used, and one sentence says what to do.

Messages name what is wrong, not how a command spells it: commands add their own words.
"""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave is wrong; the message is one sentence that says what to do."""


class ExistsError(InputError):
    """A result is there already and was not to be replaced."""


class OutputError(InputError):
    """A result could not be written, whatever the input: other inputs would fare no better."""
