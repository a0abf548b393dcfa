"""The one exception that a person is meant to read."""


class ProjectError(Exception):
    """Something a person can put right: one line that says what is wrong, where, and what to do."""
