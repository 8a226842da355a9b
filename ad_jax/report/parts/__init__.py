"""Sections of a report that need no labels, a file per theme; figures from labels come in as arrays."""
