import multiprocessing
import pickle
import zipfile

import pytest
from exports import write_text

from segdla.data.annotations.file_tree import open_tree
from segdla.errors import UserError


def archive(path, *names, content=b"{}"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, content)
    return path


def test_a_folder_an_archive_and_a_file(tmp_path):
    for name in ("b.json", "images/a.PNG", ".hidden/c.json", "notes.doc"):
        write_text(tmp_path / "folder" / name, "{}")
    names = ["__MACOSX/._b.json", ".x/c.json", "b.json", "images\\a.PNG", "notes.doc"]
    for tree in (open_tree(tmp_path / "folder"), open_tree(archive(tmp_path / "export", *names))):
        assert tree.names == ["b.json", "images/a.PNG"]
        assert tree.read("images/a.PNG") == b"{}"
        assert tree.with_suffix(".png") == ["images/a.PNG"]
    assert open_tree(tmp_path / "folder" / "b.json").names == ["b.json"]


@pytest.mark.parametrize(
    "name", ["../b.json", "a/../../b.json", "/etc/b.json", "C:/b.json", "..\\b.json", "D:\\b.json"]
)
def test_paths_that_lead_out_of_an_archive(tmp_path, name):
    with pytest.raises(UserError, match="which leads out of the archive"):
        open_tree(archive(tmp_path / "export.zip", "a.json", name))


def test_bombs(tmp_path):
    tree = open_tree(archive(tmp_path / "export.zip", "a.json", content=bytes(33 << 20)))
    with pytest.raises(UserError, match=r"a.json would grow \d+-fold to 35 MB, as a ZIP bomb does") as error:
        tree.read("a.json")
    assert "\n" not in str(error.value)


def test_damaged_and_encrypted_archives(tmp_path):
    path = archive(tmp_path / "export.zip", "a.json", content=b"some content, of some length")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="is no ZIP archive that can be read"):
        open_tree(path)
    path.write_bytes(content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"))
    with pytest.raises(UserError, match="is encrypted; unpack the archive"):
        open_tree(path).read("a.json")
    path.write_bytes(content[:36] + b"\xff\xff\xff" + content[39:])
    with pytest.raises(UserError, match="can't be unpacked"):
        open_tree(path).read("a.json")
    with pytest.raises(UserError, match="no file or folder"):
        open_tree(tmp_path / "nothing.zip")


def reads_all(tree):
    return all(tree.read(name) == name.encode() * 1000 for _ in range(20) for name in tree.names)


def test_processes_read_one_archive_at_once(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as file:
        for i in range(20):
            file.writestr(f"{i}.json", f"{i}.json" * 1000)
    tree = open_tree(path)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map_async(reads_all, [pickle.loads(pickle.dumps(tree))] * 2)
        assert reads_all(tree)
        assert results.get(20) == [True, True]
