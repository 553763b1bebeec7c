"""Audio files in and out, and the one error that users see."""


class InputError(Exception):
    """Something the user gave is wrong; the message is one sentence that says what to do."""
