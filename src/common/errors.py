"""The one exception for mistakes that the person at the keyboard can mend, and its wording."""


class InputError(ValueError):
    """Something given from outside is wrong: a path, a file, a field, the network.

    The message says what was expected, what was received and what to do. The command line prints
    it without a traceback and exits with code 2.
    """


def reason_of(error: Exception) -> str:
    """Return an error's text, for a sentence that names the file: without number and path."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # The text of a LookupError is the key alone.
    return f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)
