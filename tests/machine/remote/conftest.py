import fsspec
import pytest


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty storage in memory, and an empty local tier."""
    monkeypatch.setenv("SEGDLA_CACHE", str(tmp_path / "tier"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
