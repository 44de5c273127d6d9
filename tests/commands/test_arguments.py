"""How a command starts and fails, and the doors in tools/."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from support import ROOT, photo, write

from segdla.__main__ import VERBS, main, run_verb
from segdla.commands import arguments
from segdla.errors import PeerError, UserError
from segdla.version import __version__


def failing(error):
    """A command that ends in an error."""

    def fail(args):
        raise error

    return SimpleNamespace(DESCRIPTION="", add_arguments=lambda parser: None, main=fail)


def test_a_mistake_is_one_line_and_status_2(capsys):
    assert arguments.run(failing(UserError("no such thing")), "segdla x", []) == 2
    assert capsys.readouterr().err == "segdla x: no such thing\n"


def test_a_message_is_one_line_whatever_it_names(capsys):
    arguments.run(failing(UserError("no image in a\nb\x1b[31m" + "c" * 10**6)), "segdla x", [])
    message = capsys.readouterr().err
    assert message.startswith(r"segdla x: no image in a\nb\x1b[31mccc") and message.count("\n") == 1
    assert len(message) < 11_000


@pytest.mark.parametrize(
    "words", [["predict", "x", "--output-kind"], ["benchmark", "--backend"], ["predict", "--window"], []]
)
def test_a_long_word_is_shortened(words, capsys):
    assert main([*words, "x" * 10**5 + "\n"]) == 2
    message = capsys.readouterr().err
    assert len(message) < 500 and message.count("\n") == 1


def test_debug_shows_where_a_mistake_was_met():
    with pytest.raises(UserError, match="no such thing"):
        arguments.run(failing(UserError("no such thing")), "", ["--debug"])


def test_a_lack_of_memory_anywhere_is_one_line(capsys):
    assert arguments.run(failing(MemoryError("Unable to allocate 9 GiB")), "segdla x", []) == 2
    assert capsys.readouterr().err.startswith("segdla x: out of memory: Unable to allocate 9 GiB; free some")
    with pytest.raises(MemoryError):
        arguments.run(failing(MemoryError()), "", ["--debug"])
    with pytest.raises(RuntimeError, match="a bug"):
        arguments.run(failing(RuntimeError("a bug")), "", [])


def test_another_process_s_mistake_is_not_told_again(capsys):
    assert arguments.run(failing(PeerError("no such thing")), "", []) == 2
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("rank", "waits"), [("0", []), ("3", [arguments._PATIENCE])])
def test_the_first_process_speaks_before_the_others(rank, waits, monkeypatch, capsys):
    sleeps = []
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(arguments.time, "sleep", sleeps.append)
    assert arguments.run(failing(UserError("no such thing")), "", []) == 2
    assert sleeps == waits and "no such thing" in capsys.readouterr().err


def test_a_failed_command_among_others_leaves_python_no_time_to_abort(monkeypatch, capsys):
    """Torch's threads are still there, and one of them may abort the process while Python ends."""
    statuses = []
    monkeypatch.setattr("os._exit", statuses.append)
    arguments.run(failing(UserError("no such thing")), "", [])
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    arguments.run(SimpleNamespace(DESCRIPTION="", add_arguments=lambda parser: None, main=lambda args: 0), "", [])
    assert statuses == []
    arguments.run(failing(UserError("no such thing")), "", [])
    arguments.run(failing(PeerError("no such thing")), "", [])
    assert statuses == [2, 2]
    assert capsys.readouterr().err.count("no such thing") == 2


def test_interrupted_it_ends_without_a_word(capsys):
    assert arguments.run(failing(KeyboardInterrupt()), "", []) == 130
    assert capsys.readouterr() == ("", "")


def test_interrupted_while_importing_too(monkeypatch, capsys):
    monkeypatch.setattr("segdla.__main__.import_module", failing(KeyboardInterrupt()).main)
    assert run_verb("train", []) == 130
    assert capsys.readouterr() == ("", "")


def test_messages_name_the_command_that_was_called(capsys):
    for status in (run_verb("benchmark", []), run_verb("benchmark", [], "benchmark.py")):
        assert status == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("segdla benchmark: ") and first.endswith("see segdla benchmark --help")
    assert second.startswith("benchmark.py: ") and second.endswith("see benchmark.py --help")


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_without_a_verb_it_lists_them(words, capsys):
    assert main(words) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(VERBS)


def test_its_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segdla {__version__}\n"


def test_an_unknown_verb(capsys):
    assert main(["fly"]) == 2
    assert capsys.readouterr().err.startswith(
        "segdla: 'fly' is none of train, pretrain, test, compare, report, predict, "
    )
    assert main(["trian"]) == 2
    assert capsys.readouterr().err.endswith("models; did you mean segdla train?\n")


def python(*words, **environment):
    """A fresh interpreter's exit status, stdout and stderr."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=os.environ | environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_door(verb):
    name = VERBS[verb][0]
    text = (ROOT / "tools" / f"{name}.py").read_text(encoding="utf-8")
    assert f'run_verb("{verb}", prog="{name}.py")' in text


def test_a_door_opens():
    status, out, err = python(ROOT / "tools" / "test.py", "--help")
    assert (status, err) == (0, "") and out.startswith("usage: test.py ")


def test_a_door_to_nowhere_says_how_to_install(tmp_path):
    # -S leaves out the folder of installed packages.
    for path in sorted((ROOT / "tools").glob("*.py")):
        expected = f"{path.name}: segdla is not installed; from the clone: pip install -r requirements.txt\n"
        assert python("-S", path, "--help", PYTHONPATH=str(tmp_path)) == (1, "", expected)


def test_help_comes_at_once():
    """Importing torch takes a second or more, NumPy and OpenCV a tenth."""
    words = [["--help"], *([verb, "--help"] for verb in VERBS)]
    code = f"""
import sys
from segdla.__main__ import main
for words in {words}:
    try:
        main(words)
    except SystemExit:
        pass
slow = "torch", "torchvision", "albumentations", "scipy", "matplotlib", "numpy", "cv2", "PIL"
print([name for name in slow if name in sys.modules])
"""
    status, out, err = python("-c", code)
    assert (status, out.splitlines()[-1], err) == (0, "[]", "")


def test_predicting_imports_nothing_that_it_does_not_use(checkpoint, tmp_path):
    write(tmp_path / "a.png", photo(20, 30))
    words = ["predict", str(tmp_path), "--checkpoint", str(checkpoint), "--output", str(tmp_path / "out")]
    code = f"""
import sys
from segdla.__main__ import main
main({words})
unused = "albumentations", "scipy", "tensorboard", "torchvision", "segdla.data.from_config", "segdla.export.write"
print([name for name in unused if name in sys.modules])
"""
    status, out, err = python("-c", code)
    assert (status, out.splitlines()[-1], err) == (0, "[]", "")
    assert (tmp_path / "out" / "color" / "a.png").exists()
