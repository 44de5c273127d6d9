"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """A mistake in a config, a file or a command line.

    The message names the thing, its value and the remedy in one line. The tools print it without a traceback and
    exit with status 2; every other exception is a defect of ours and keeps its traceback.
    """


class PeerError(UserError):
    """Another of several processes met its user's mistake, and says so; this one has to end without a word."""
