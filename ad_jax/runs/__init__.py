"""A run: what it is to do, and the files of its folder."""
