"""Sections of a report that need no labels, a file per theme; figures of labels are arguments."""
