"""The one exception for a user's mistake: what it is and how to mend it, in one line."""


class InputError(ValueError):
    """A value, file or option that cannot be used; the message names it and the fix.

    The command prints it without a traceback and exits with status 2. Any other exception is a
    fault of this library and keeps its traceback.
    """
