"""Drawings of a report, from plain data, a file per kind; matplotlib is imported when one is made."""
