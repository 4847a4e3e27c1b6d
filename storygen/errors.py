"""The errors that people are meant to read."""


class StorygenError(ValueError):
    """What was wrong, where, and what would be right, in one line that can be shown to a user as it is."""


class RefusedError(StorygenError):
    """The request can't be met, as was found only once its story had begun."""


class UnavailableError(StorygenError):
    """Nothing is wrong with the request: the same may work in a moment, or somewhere else."""
