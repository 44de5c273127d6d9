import subprocess
import sys

from support import ROOT

from segdla.config.reference import COMMAND, markdown


def test_the_reference_is_fresh():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert text == markdown() + "\n", f"run: {COMMAND}"


def test_it_names_every_key_once():
    lines = markdown().splitlines()
    for key in ("lr", "scales", "mask_prefix", "paste", "output_stride", "ignore_colors", "protocol", "crop", "ohem"):
        assert len([line for line in lines if line.startswith(f"| `{key}` |")]) == 1, key


def test_values_and_defaults_are_shown():
    text = markdown()
    assert "| `flip` | number >= 0, <= 1 | `0.5` | Probability of a left-right flip. |" in text
    assert "| `precision` | `fp32`, `tf32`, `bf16`, `fp16` | `fp32` |" in text
    assert "| `clip_norm` | number > 0 or `null` | `null` |" in text
    assert "| `root` | text | required | " in text


def test_the_command_prints_it():
    command = [sys.executable, "-m", "segdla.config", "--markdown"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed == markdown() + "\n"
