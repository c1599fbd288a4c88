"""The one exception for mistakes that the person at the keyboard can mend."""


class InputError(ValueError):
    """Something given from outside is wrong: a path, a file, a field, the network.

    The message says what was expected, what was received and what to do. The command line prints
    it without a traceback and exits with code 2.
    """
