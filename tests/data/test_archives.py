import gzip
import io
import multiprocessing
import tarfile
import zipfile

import numpy as np
import pytest
from exports import zipped
from support import photo, write

from segdla.data.archives import is_folder, is_regular, read_packed, read_text, state_file, sub_folders
from segdla.data.folder import folder
from segdla.data.images import image_size, read_image, read_mask
from segdla.data.listing import list_images
from segdla.data.pairing import Naming
from segdla.errors import UserError

FILES = {"images/a.png": b"one", "images/deep/b.png": b"two" * 3000, "names.txt": "Straße".encode(), "._x": b"hidden"}


def tarred(path, files, mode="w"):
    fast = {"compresslevel": 1} if mode == "w:gz" else {}
    with tarfile.open(path, mode, **fast) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def packed(tmp_path, kind, files=FILES):
    """An archive of a kind, named so that the content alone tells it."""
    path = tmp_path / f"{kind}.download"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    return tarred(path, files, "w" if kind == "tar" else "w:gz")


KINDS = ("zip", "tar", "tgz")


@pytest.mark.parametrize("kind", KINDS)
def test_paths_go_on_behind_an_archive(tmp_path, kind):
    path = packed(tmp_path, kind)
    assert is_folder(path) and is_folder(path / "images") and not is_folder(path / "names.txt")
    assert is_regular(path / "names.txt") and not is_regular(path / "images") and not is_regular(path / "other.txt")
    assert read_packed(path / "images" / "deep" / "b.png") == b"two" * 3000
    assert read_text(path / "names.txt") == "Straße"
    assert [image.relative_to(path).as_posix() for image in list_images(path)] == ["images/a.png", "images/deep/b.png"]
    assert sub_folders(path) == ["images"] and sub_folders(path / "images") == ["deep"]
    assert state_file(path / "names.txt") == path and state_file(path) == path
    with pytest.raises(UserError, match=r"cannot read .*/c.png: no such file in"):
        read_packed(path / "c.png")
    with pytest.raises(FileNotFoundError, match="No such file"):
        read_text(path / "c.txt")


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_found_as_they_are_listed(tmp_path, kind):
    path = packed(tmp_path, kind, {"./x//./a.png": b"one", "b.png": b"two", ".b.txt": b"hidden"})
    assert list_images(path) == [path / "b.png", path / "x" / "a.png"]
    assert read_packed(path / "x" / "a.png") == b"one"
    assert not is_regular(path / ".b.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9])
def test_damage_in_a_zip_of_any_method(tmp_path, method):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if method == 9 else method) as archive:
        archive.writestr("a.png", np.random.default_rng(0).integers(0, 4, 9000, np.uint8).tobytes())
    content = bytearray(path.read_bytes())
    if method == 9:  # Deflate64, which zipfile can't unpack
        for place in (8, content.index(b"PK\1\2") + 10):
            content[place] = method
    content[45:400] = bytes(355)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a.png can't be unpacked \("):
        read_packed(path / "a.png")


def test_files_on_disk_are_left_alone(tmp_path):
    write(tmp_path / "a.png", photo(8, 8))
    for path in (tmp_path / "a.png" / "b.png", tmp_path / "c.png", tmp_path / "bad\0name"):
        assert read_packed(path) is None and not is_folder(path) and not is_regular(path)
        with pytest.raises(UserError, match="cannot read"):
            read_image(path)
    assert state_file(tmp_path / "a.png") == tmp_path / "a.png"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../b.png", "a/../../b.png", "/etc/b.png", "C:/b.png", "..\\b.png"])
def test_paths_that_lead_out_of_an_archive(tmp_path, kind, name):
    with pytest.raises(UserError, match="which leads out of the archive"):
        is_folder(packed(tmp_path, kind, {"a.png": b"", name: b""}))


def test_a_tar_with_a_dot_before_its_names_and_links_out_of_it(tmp_path):
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("./a.png"))
        link = tarfile.TarInfo("./passwd.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert list_images(path) == [path / "a.png"]


def test_any_place_of_a_large_tar_gz(tmp_path):
    rng = np.random.default_rng(0)
    files = {f"{i}.bin": rng.integers(0, 4, 1_300_000, np.uint8).tobytes() for i in range(9)}
    path = tarred(tmp_path / "set.tar.gz", files, "w:gz")
    for i in (8, 0, 5, 3, 7):  # 11.7 MB: states lie at 4 and 8
        assert read_packed(path / f"{i}.bin") == files[f"{i}.bin"]


def test_gzip_in_several_members_and_with_padding(tmp_path):
    content = tarred(tmp_path / "set.tar", FILES).read_bytes()
    half = len(content) // 2
    path = tmp_path / "set.tar.gz"
    path.write_bytes(gzip.compress(content[:half]) + gzip.compress(content[half:]) + bytes(1000))
    assert read_packed(path / "images" / "deep" / "b.png") == FILES["images/deep/b.png"]


def test_bombs(tmp_path):
    path = tmp_path / "set.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("a.png")
        member.size = 64 << 20
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(UserError, match=r"set.tar.gz would grow \d+-fold to \d+ MB, as a ZIP bomb does") as error:
        is_folder(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_archives_that_are_cut_short_or_damaged(tmp_path, kind):
    files = {"a.png": np.random.default_rng(0).bytes(200_000), "b.png": b"x" * 5000}
    path = packed(tmp_path, kind, files)
    content = path.read_bytes()
    path.write_bytes(content[:100_000])
    with pytest.raises(UserError, match=r"anew") as error:
        read_packed(path / "a.png")
    assert "\n" not in str(error.value)


def test_other_ways_of_packing(tmp_path):
    path = tarred(tmp_path / "set.tar.xz", FILES, "w:xz")
    message = r"set.tar.xz is packed in a way .*: unpack it \(tar -xf set.tar.xz\), and name the folder"
    with pytest.raises(UserError, match=message):
        list_images(path)


def test_a_changed_archive_is_opened_anew(tmp_path):
    path = packed(tmp_path, "tar")
    assert is_folder(path / "images")
    tarred(path, {"other/a.png": b"another, longer content" * 1000})
    assert is_folder(path / "other") and not is_folder(path / "images")


def _reads_all(path):
    return all(read_packed(path / f"{i}.bin") == bytes([i]) * 5000 for _ in range(20) for i in range(20))


@pytest.mark.parametrize("kind", KINDS)
def test_processes_read_one_archive_at_once(tmp_path, kind):
    path = packed(tmp_path, kind, {f"{i}.bin": bytes([i]) * 5000 for i in range(20)})
    assert _reads_all(path)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map_async(_reads_all, [path] * 2)
        assert _reads_all(path)
        assert results.get(20) == [True, True]


def test_a_folder_data_set_in_an_archive(tmp_path):
    for i in range(3):
        write(tmp_path / "set" / "images" / f"{i}.png", photo(8, 10, i))
        write(tmp_path / "set" / "masks" / f"{i}_L.png", np.full((8, 10), i, np.uint8))
    path = zipped(tmp_path / "set", tmp_path / "set.zip")
    on_disk, in_zip = (
        folder(root, ("a", "b", "c"), images="images", masks="masks", naming=Naming(mask_suffix="_L"))
        for root in (tmp_path / "set", path)
    )
    for i in range(3):
        for one, other in zip(on_disk.read(i), in_zip.read(i), strict=True):
            np.testing.assert_array_equal(one, other)
    assert image_size(path / "images" / "0.png") == (8, 10) and read_mask(path / "masks" / "2_L.png")[0, 0] == 2
