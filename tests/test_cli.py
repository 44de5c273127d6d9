"""How a tool fails."""

import pytest

from segdla import cli
from segdla.errors import PeerError, UserError


def mistaken(error):
    def main(args):
        raise error

    return main


def test_a_mistake_is_one_line_and_status_2(capsys):
    assert cli.run(mistaken(UserError("no such thing")), cli.parser(""), []) == 2
    assert capsys.readouterr().err.endswith(": no such thing\n")


def test_debug_shows_where_a_mistake_was_met():
    with pytest.raises(UserError, match="no such thing"):
        cli.run(mistaken(UserError("no such thing")), cli.parser(""), ["--debug"])


def test_another_process_s_mistake_is_not_told_again(capsys):
    assert cli.run(mistaken(PeerError("no such thing")), cli.parser(""), []) == 2
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("rank", "waits"), [("0", []), ("3", [cli._PATIENCE])])
def test_the_first_process_speaks_before_the_others(rank, waits, monkeypatch, capsys):
    waited = []
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    assert cli.run(mistaken(UserError("no such thing")), cli.parser(""), []) == 2
    assert waited == waits and "no such thing" in capsys.readouterr().err
