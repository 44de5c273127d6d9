import shutil

import matplotlib.font_manager
import pytest
from matplotlib.ft2font import FT2Font

from segdla.machine import fonts
from segdla.machine.fonts import lettering

STIX = "STIXGeneral.ttf"  # comes with matplotlib
RARE = "\u1d81"  # a letter of phonetics: in STIX, not in DejaVu Sans


@pytest.fixture
def install(monkeypatch, tmp_path):
    """``install(path, ...)`` makes these all the fonts that are installed; returns their paths."""

    def clear():
        for cached in (fonts.lettering, fonts._installed, fonts._say_once):
            cached.cache_clear()

    def install(*paths):
        monkeypatch.setattr(matplotlib.font_manager, "findSystemFonts", lambda: [str(path) for path in paths])
        clear()

    yield install
    clear()


@pytest.fixture
def stix(tmp_path):
    path = tmp_path / "Regular.ttf"
    shutil.copy(fonts._shipped().replace("DejaVuSans.ttf", STIX), path)
    return path


def test_the_shipped_font_has_all_letters_that_are_not_looked_up_in_it():
    letters = {letter for letter in map(chr, range(128)) if letter.isprintable()}
    assert not fonts._absent(fonts._shipped(), "".join(letters))


def test_latin_greek_cyrillic_arabic_are_in_the_shipped_font(install, capsys):
    install()
    for text in ("Straße", "λ", "ж", "می\u200cشود"):
        assert lettering(text) == (text, fonts._shipped())
    assert capsys.readouterr().out == ""


def test_an_installed_font_with_all_letters_is_used(install, stix, tmp_path, capsys):
    (tmp_path / "a.ttf").write_bytes(b"no font")
    assert RARE in map(chr, FT2Font(str(stix)).get_charmap())
    install(tmp_path / "a.ttf", stix.with_name("gone.ttf"), fonts._shipped(), stix)
    assert lettering(f"a{RARE}") == (f"a{RARE}", str(stix))
    assert capsys.readouterr().out == ""


def test_plain_fonts_come_first(install, stix):
    bold = shutil.copy(stix, stix.with_name("Bold.ttf"))
    install(bold, stix)
    assert lettering(RARE)[1] == str(stix)


def test_letters_that_no_font_has_are_drawn_by_their_codes_and_told_once(install, capsys):
    install()
    assert lettering("Straße 道路") == (r"Straße \u9053\u8def", fonts._shipped())
    assert lettering("汽车") == (r"\u6c7d\u8f66", fonts._shipped())
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and "install a font" in told


def test_a_font_of_last_resort_has_no_letters(install, stix):
    """It has a box for each script; newer matplotlibs bring it along, and macOS too."""
    name = fonts._shipped().replace("DejaVuSans.ttf", "LastResortHE-Regular.ttf")
    if not fonts.Path(name).exists():
        pytest.skip("this matplotlib has none")
    install(name)
    assert lettering("道")[0] == r"\u9053"
