"""Rules of the house that no single module can keep."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "segdla").rglob("*.py"))

# What each room may import of segdla; errors anyone may.
SCORING = {"segdla.placement", "segdla.scores", "segdla.inference", "segdla.metrics"}
LEAVES = {"segdla.models", "segdla.data", "segdla.losses", "segdla.visualize", *SCORING}
LOOP = {"segdla.checkpoint", "segdla.report", "segdla.state", "segdla.meter", "segdla.stop", "segdla.step"}
MAY_IMPORT = {
    "segdla": {"segdla.trained"},
    "segdla.errors": set(),
    "segdla.config": set(),
    "segdla.cli": set(),
    "segdla.distributed": set(),
    **{leaf: set() for leaf in LEAVES},
    "segdla.scores": {"segdla.placement"},
    "segdla.inference": {"segdla.placement", "segdla.scores"},
    "segdla.checkpoint": LEAVES,
    "segdla.report": LEAVES | {"segdla.checkpoint"},
    "segdla.state": set(),
    "segdla.draft": LEAVES,
    "segdla.diagnosis": LEAVES | {"segdla.report"},
    "segdla.build_data": LEAVES | {"segdla.config", "segdla.report", "segdla.distributed"},
    "segdla.stop": {"segdla.distributed"},
    "segdla.background": set(),
    "segdla.evaluation": LEAVES | {"segdla.distributed"},
    "segdla.official": LEAVES | {"segdla.distributed"},
    "segdla.submission": LEAVES,
    "segdla.meter": LEAVES | {"segdla.distributed"},
    "segdla.step": LEAVES | {"segdla.distributed", "segdla.state"},
    "segdla.engine": LEAVES | LOOP | {"segdla.distributed", "segdla.evaluation"},
    "segdla.build": LEAVES | {"segdla.config", "segdla.checkpoint", "segdla.distributed", "segdla.report"},
    "segdla.trained": LEAVES | {"segdla.build", "segdla.config", "segdla.checkpoint"},
    "segdla.learning": LEAVES | LOOP | {"segdla.config", "segdla.distributed"},
    "segdla.training": LEAVES
    | LOOP
    | {"segdla", "segdla.config", "segdla.distributed", "segdla.build", "segdla.build_data"}
    | {"segdla.engine", "segdla.learning"},
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


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 280


def test_albumentations_stays_in_one_file():
    users = {module_name(path) for path in SOURCES if "albumentations" in set(imported(path))}
    assert users == {"segdla.data.transforms"}


def test_importing_segdla_imports_nothing_heavy():
    code = "import segdla, sys; print({'torch', 'cv2', 'numpy', 'albumentations', 'torchvision'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_segdla_lives_without_torchvision():
    code = "import sys; sys.modules['torchvision'] = None\nimport segdla.training; print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "fine"


def test_requirements_and_package_agree():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.split("#")[0].strip() for line in lines} - {"", "-e ."}
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {name for name in listed if not name.startswith("pytest")} == set(package["dependencies"])
