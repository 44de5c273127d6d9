"""Fonts: the one that comes with matplotlib, and those that are installed here."""

from functools import cache, lru_cache
from pathlib import Path

from segdla.machine.terminal import say

_INVISIBLE = "\u200c\u200d"  # joiners, which several scripts need between their letters
_BADLY_DRAWN = ("bold", "italic", "oblique", "mono", "serif", "light", "thin", "black")  # at a legend's size


@lru_cache(4096)
def lettering(text: str) -> tuple[str, str]:
    """Return text that can be drawn, and the path of a font that has all its letters.

    That is DejaVu Sans, which has Latin, Greek, Cyrillic, Arabic and more, or else an installed font. Control and
    direction characters are escaped, and all letters that DejaVu lacks if no font has all of the text. This is said
    once a process.
    """
    text = "".join(c if c.isprintable() or c in _INVISIBLE else _escaped(c) for c in text)
    absent = "" if text.isascii() else _absent(_shipped(), text)  # to ask for its letters imports matplotlib
    if not absent:
        return text, _shipped()
    for path in _installed():
        if not _absent(path, text):
            return text, path
    _say_once()
    return "".join(_escaped(c) if c in absent else c for c in text), _shipped()


def _escaped(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode() if ord(letter) > 0x7F else repr(letter)[1:-1]


@cache
def _shipped() -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@cache
def _installed() -> list[str]:
    """Return the paths of the installed fonts, plain ones first."""
    from matplotlib.font_manager import findSystemFonts

    def style(path: str) -> tuple[int, str]:
        name = Path(path).name.lower()
        return sum(word in name.replace("sansserif", "") for word in _BADLY_DRAWN), name

    return sorted(findSystemFonts(), key=style)


@cache
def _letters(path: str) -> frozenset[int]:
    """Return the characters of a font by number; none if it can't be drawn in any size, as fonts of pictures."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        is_drawn = font.scalable and "LastResort" not in font.postscript_name  # which has a box for each script
        return frozenset(font.get_charmap()) if is_drawn else frozenset()
    except (OSError, RuntimeError):  # a damaged file, or a format that FreeType doesn't know
        return frozenset()


def _absent(path: str, text: str) -> str:
    """Return the letters of a text that a font lacks."""
    letters = _letters(path)
    return "".join(dict.fromkeys(c for c in text if ord(c) not in letters))


@cache
def _say_once() -> None:
    say(
        r"some names hold letters that no font here has, and are drawn by their codes, such as \u9053; to see them, "
        "install a font, such as Noto (on Debian and Ubuntu: apt install fonts-noto-core fonts-noto-cjk)"
    )
