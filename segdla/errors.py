"""The exception for a user's mistake, and how a message quotes values of any size."""

import difflib
import reprlib
import shlex
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in a config, a file or a command line.

    The message names the thing, its value and the remedy in one line. Commands print it without a traceback and exit
    with status 2. Every other exception is a defect of ours and keeps its traceback.
    """


class PeerError(UserError):
    """A UserError of another process of this command, which reports it: this process ends without a word."""


def in_shell(path: object, key: str = "") -> str:
    """Return a path as it is typed in a command, quoted if a shell asks for that; ``key`` is the config's, if any."""
    word = str(path)
    return shlex.quote(f"{key}={word}" if key else f"./{word}" if word.startswith("-") else word)


def quoted(value: object, most: int = 120) -> str:
    """Return ``repr(value)`` for a message: on one line, and shortened in the middle to ``most`` characters."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = 20
    try:
        return one_line(short.repr(value), most)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"


def one_line(text: object, most: int = 300) -> str:
    """Return text for a message, without quotes: control characters escaped, shortened to ``most`` characters."""
    short = shortened(str(text), most)
    return shortened("".join(c if c.isprintable() else repr(c)[1:-1] for c in short), most)


def shortened(text: str, most: int) -> str:
    """Return text cut in the middle to at most ``most`` characters."""
    end = most // 3
    return text if len(text) <= most else f"{text[: most - end - 3]}...{text[-end:]}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like an unknown one, to ask whether it was meant; None if none is like it."""
    return next(iter(difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.5)), None)
