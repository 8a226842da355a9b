"""Drawings of a report from plain data, a file per kind; the first one imports matplotlib."""
