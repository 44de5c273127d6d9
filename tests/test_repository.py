"""Rules of the house that no single module can keep."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "segdla").rglob("*.py"))

# What each room (a file or folder of segdla/) may import of segdla; errors anyone may.
LEAVES = {f"segdla.{name}" for name in ("models", "data", "losses", "metrics", "inference", "visualize")}
MAY_IMPORT = {
    "segdla": {"segdla.segmenter"},
    "segdla.errors": set(),
    "segdla.config": set(),
    "segdla.cli": set(),
    "segdla.distributed": set(),
    "segdla.background": set(),
    "segdla.speed": set(),
    "segdla.hub": set(),
    **{leaf: set() for leaf in LEAVES},
    "segdla.checkpoint": LEAVES | {"segdla.hub"},
    "segdla.report": LEAVES | {"segdla.checkpoint"},
    "segdla.draft": LEAVES,
    "segdla.diagnosis": LEAVES | {"segdla.report"},
    "segdla.evaluation": LEAVES | {"segdla.distributed"},
    "segdla.engine": LEAVES | {"segdla.distributed", "segdla.evaluation", "segdla.checkpoint", "segdla.report"},
    "segdla.build": LEAVES
    | {"segdla", "segdla.config", "segdla.distributed", "segdla.engine", "segdla.checkpoint", "segdla.report"},
    "segdla.export": LEAVES,
    "segdla.trained": LEAVES | {"segdla.build", "segdla.config", "segdla.checkpoint", "segdla.export"},
    "segdla.scoring": LEAVES
    | {"segdla.trained", "segdla.build", "segdla.evaluation", "segdla.background", "segdla.report"},
    "segdla.segmenter": LEAVES | {"segdla.trained", "segdla.build", "segdla.hub"},
    "segdla.prediction": LEAVES | {"segdla.background"},
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    return ".".join(module.split(".")[:2])


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "segdla" else []
            yield from (name if is_module(name) else "segdla" for name in inner)
            if not inner:
                yield node.module


def is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_down(path):
    here = room(module_name(path))
    inside = {room(name) for name in imported(path) if name.split(".")[0] == "segdla"}
    assert inside - {here, "segdla.errors"} <= MAY_IMPORT[here]


@pytest.mark.parametrize("path", [*SOURCES, *sorted(ROOT.glob("tools/*.py"))], ids=module_name)
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


def test_albumentations_stays_in_one_file():
    users = {module_name(path) for path in SOURCES if "albumentations" in set(imported(path))}
    assert users == {"segdla.data.transforms"}


def test_importing_segdla_imports_nothing_heavy():
    code = "import segdla, sys; print({'torch', 'cv2', 'numpy', 'albumentations', 'torchvision'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_segdla_lives_without_torchvision():
    code = "import sys; sys.modules['torchvision'] = None\nimport segdla.build.training; print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "fine"


def test_requirements_and_package_agree():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.split("#")[0].strip() for line in lines} - {"", "-e ."}
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {name for name in listed if not name.startswith("pytest")} == set(package["dependencies"])
