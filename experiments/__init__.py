"""Studies of the library, run as `python -m experiments NAME` in the repository's root."""
