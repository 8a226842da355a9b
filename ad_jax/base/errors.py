"""The one exception for a user's mistake: what it is and how to mend it, in one line."""

from collections.abc import Callable


class InputError(ValueError):
    """A value, file or option that cannot be used; the message names it and the fix.

    The command prints it without a traceback and exits with status 2. Any other exception is a
    fault of this library and keeps its traceback.
    """


class DataWarning(UserWarning):
    """Data that can be used, perhaps not as meant; one line names it and the fix.

    The command prints the line to stderr and goes on.
    """


class MembersFailed(RuntimeError):
    """Some members of a sweep raised; the others are done and in the record.

    The command prints it without a traceback and exits with status 1.
    """


def of_machine(error: BaseException) -> bool:
    """Whether an error is the machine's (permission, disk, memory), whatever a file holds.

    A file that is not there, or no file, is not: that is a name's fault.
    """
    if isinstance(error, MemoryError):
        return True
    names = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
    return isinstance(error, OSError) and error.errno is not None and not isinstance(error, names)


def in_one_line(main: Callable[[], None]) -> None:
    """Runs a script's main; wrong use ends in the error's one line and status 1."""
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
