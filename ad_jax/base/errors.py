"""The one exception for a user's mistake: what it is and how to mend it, in one line."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """A value, file or option that cannot be used; the message names it and the fix.

    The command prints it without a traceback and exits with status 2. Any other exception is a
    fault of this library and keeps its traceback.
    """


def check_name(names: Collection[str], name: Any, kind: str) -> None:
    """Refuses a name that is not among the known ones.

    Raises:
      InputError: one line that lists them.
    """
    if not isinstance(name, str) or name not in names:
        raise InputError(f"no {kind} {name!r}; known: {', '.join(names)}")


def lookup(table: Mapping[str, T], name: Any, kind: str) -> T:
    """The entry of that name in a table of one kind of things.

    >>> lookup({"all": 1, "halving": 2}, "halve", "search")
    Traceback (most recent call last):
    ad_jax.base.errors.InputError: no search 'halve'; known: all, halving

    Raises:
      InputError: an unknown name, see `check_name`.
    """
    check_name(table, name, kind)
    return table[name]


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
