"""Packs the config that needs no data into the wheel; everything else is in pyproject.toml."""

from pathlib import Path
from shutil import copy

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfig(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # there the clone's configs/ are at hand
            copy("configs/quickstart.yaml", Path(self.build_lib, "segdla", "shipped"))


setup(cmdclass={"build_py": BuildWithConfig})
