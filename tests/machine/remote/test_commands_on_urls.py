"""Commands on data in storage; memory:// is the storage."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from support import write

from segdla.checkpoints.find import find_checkpoint
from segdla.config import parse, parse_yaml
from segdla.data.archives import archive_above, is_regular, state_file
from segdla.data.files_ahead import bring
from segdla.data.from_config import open_split
from segdla.data.image_writer import encode_image
from segdla.data.images import read_image, read_mask
from segdla.doctor.budget import Pace
from segdla.doctor.draft import draft
from segdla.errors import UserError
from segdla.machine.remote import local_tier
from segdla.machine.remote.object_store import list_folder, read_object, write_object
from segdla.machine.remote.remote_path import RemotePath, as_path
from segdla.machine.remote.storage_errors import StorageError
from segdla.media.inputs import Input, find_inputs
from segdla.media.outputs import Output
from segdla.media.run import predict_files

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
MASK = (IMAGE[..., 0] > 99).astype(np.uint8)
CLASSES = ("a", "b"), ((0, 0, 0), (255, 0, 0))


def upload(*names):
    for name in names:
        write_object(f"memory://set/{name}", encode_image(MASK if "masks" in name else IMAGE))


def folder_config(root="memory://set", images="images", masks="masks"):
    split = {"images": images, "masks": masks}
    return parse({"data": {"dataset": "folder", "root": root, "classes": ["a", "b"], "train": split, "val": split}})


def test_a_data_set_is_read_in_place():
    upload("images/a ü.png", "masks/a ü.png", "images/deep/b.png", "masks/deep/b.png")
    source = open_split(folder_config(), "train")
    assert [source.name(i) for i in range(len(source))] == ["a ü", "b"]
    image, target = source.read(0)
    assert (image == IMAGE).all() and (target == MASK).all()
    assert str(source.files(1)[0]) == "memory://set/images/deep/b.png"


def drafted(tmp_path, images, masks):
    def pace(*_):
        return Pace("cpu", "cpu", "fp32", step=1.0, pair=0.001)

    return draft([(as_path(images), as_path(masks))], tmp_path / "mine.yaml", 0.25, 0, (), pace)


def test_a_first_config_for_folders_in_storage(tmp_path):
    upload(*(f"{folder}/{i}.png" for folder in ("images", "masks") for i in range(4)))
    files = drafted(tmp_path, "memory://set/images", "memory://set/masks").files
    for path, text in files.items():
        path.write_text(text)
    config = parse_yaml(files[tmp_path / "mine.yaml"])
    assert config.data.root == "memory://set"
    assert (open_split(config, "train").read(0)[0] == IMAGE).all()


def test_a_first_config_takes_folders_of_one_storage(tmp_path):
    upload(*(f"masks/{i}.png" for i in range(4)))
    for i in range(4):
        write(tmp_path / f"images/{i}.png", IMAGE)
    with pytest.raises(UserError, match=r"images, memory://set/masks have no folder in common"):
        drafted(tmp_path, str(tmp_path / "images"), "memory://set/masks")


def test_an_image_without_a_mask_is_named_by_its_url():
    upload("images/a.png", "images/b.png", "masks/a.png")
    with pytest.raises(UserError, match=r"no mask for memory://set/images/b\.png: expected memory://set/masks/b\.png"):
        open_split(folder_config(), "train")


def test_a_local_root_and_masks_in_storage(tmp_path):
    upload("masks/a.png")
    write(tmp_path / "images/a.png", IMAGE)
    source = open_split(folder_config(str(tmp_path), masks="memory://set/masks"), "train")
    assert (source.read(0)[1] == MASK).all()


def test_a_list_names_objects():
    upload("images/a.png", "masks/a.png")
    write_object("memory://set/train.txt", b"images/a.png masks/a.png\n")
    split = {"list": "train.txt"}
    data = {"dataset": "folder", "root": "memory://set", "classes": ["a", "b"], "train": split, "val": split}
    assert (open_split(parse({"data": data}), "train").read(0)[0] == IMAGE).all()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_brought_here_and_opened(kind):
    packed = io.BytesIO()
    files = {"images/a.png": encode_image(IMAGE), "masks/a.png": encode_image(MASK)}
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    write_object(f"memory://packed/set.{kind}", packed.getvalue())
    source = open_split(folder_config(f"memory://packed/set.{kind}"), "train")
    assert (source.read(0)[1] == MASK).all()
    assert str(source.image_path(0)) == f"memory://packed/set.{kind}/images/a.png"


def write_table(url, columns):
    pa = pytest.importorskip("pyarrow", reason="the extra arrow is not installed")
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    write_object(url, file.getvalue())


def write_tables(folder):
    """Two images and their masks, in two tables."""
    pa = pytest.importorskip("pyarrow", reason="the extra arrow is not installed")

    def column(content):
        return pa.array([{"bytes": content, "path": None}], pa.struct({"bytes": pa.binary(), "path": pa.string()}))

    for number, image in enumerate((IMAGE, 255 - IMAGE)):
        rows = {"image": column(encode_image(image)), "label": column(encode_image(MASK))}
        write_table(f"{folder}/data/train-{number:05}-of-00002.parquet", rows)


@pytest.mark.parametrize("footer", [1 << 16, 16])  # the second one is too short at first
def test_tables_are_brought_here_and_opened(store, monkeypatch, footer):
    monkeypatch.setattr("segdla.data.table_archive._FOOTER", footer)
    folder = f"memory://bucket/tables-{footer}"
    write_tables(folder)
    source = open_split(folder_config(folder, "train/image", "train/label"), "train")
    assert [source.name(i) for i in range(len(source))] == ["0000000", "0000001"]
    assert (source.read(1)[0] == 255 - IMAGE).all() and (source.read(0)[1] == MASK).all()
    assert state_file(source.image_path(1)) == RemotePath(f"{folder}/data/train-00001-of-00002.parquet")
    bring(source, range(2))  # no picture in a table is asked for by itself
    assert not local_tier._coming


def test_tables_without_images_are_not_brought_here(tmp_path):
    write_table("memory://bucket/numbers/data/sales.parquet", {"x": [1, 2]})
    with pytest.raises(UserError, match="no directory memory://bucket/numbers/images; check the path"):
        open_split(folder_config("memory://bucket/numbers"), "train")
    assert not local_tier._coming and not [*tmp_path.rglob("*.parquet")]


def test_a_missing_file_is_only_missing_whatever_is_above_it(monkeypatch):
    """Neither are the bucket's other tables asked for, nor does a user need the right to list more than was named."""
    write_tables("memory://private")
    listed = []

    def list_mine(url):
        listed.append(url)
        if not url.startswith("memory://private/team/mine"):
            raise StorageError(f"cannot list {url}: access denied")
        return list_folder(url)

    monkeypatch.setattr("segdla.machine.remote.remote_path.list_folder", list_mine)
    monkeypatch.setattr("segdla.machine.remote.object_store.list_folder", list_mine)
    path = RemotePath("memory://private/team/mine/a.png")
    assert archive_above(path) is None and not is_regular(path)
    assert "memory://private/team" in listed and "memory://private" not in listed


def test_a_public_set_is_read_by_its_own_names():
    folder = "leftImg8bit/val/town"
    for i in range(10):
        write_object(f"memory://cs/{folder}/town_{i}_leftImg8bit.png", encode_image(IMAGE))
        write_object(f"memory://cs/gtFine/val/town/town_{i}_gtFine_labelIds.png", encode_image(MASK * 7))
    source = open_split(parse({"data": {"dataset": "cityscapes", "root": "memory://cs"}}), "val")
    assert len(source) == 10 and (source.read(3)[0] == IMAGE).all()


def predicted(words, output, complaints=None):
    def complain(error):
        assert complaints is not None, error
        complaints.append(str(error))

    inputs = find_inputs(words)
    output.require_no_overwriting(inputs)
    output.begin(new=False)
    return predict_files(inputs, lambda image: (image[..., 0] > 99).astype(np.uint8), output, complain, lambda *_: None)


def test_images_of_a_bucket_are_predicted_into_a_bucket(store):
    upload("photos/a b.png", "photos/deep/ü.png")
    tally = predicted(["memory://set/photos"], Output(RemotePath("memory://out/masks"), ("ids", "masks"), *CLASSES))
    assert (tally.done, tally.failed) == (2, 0)
    assert list_folder("memory://out/masks/ids").objects.keys() == {"a b.png"}
    assert list_folder("memory://out/masks/masks/a b").objects.keys() == {"0_a.png", "1_b.png"}
    assert (read_mask(RemotePath("memory://out/masks/ids/deep/ü.png")) == MASK).all()
    assert not [name for name in store.store if "partial" in name]


def test_predicted_images_are_not_kept_here(tmp_path):
    upload("photos/a.png")
    predicted(["memory://set/photos"], Output(tmp_path / "out", ("ids",), *CLASSES))
    assert (read_mask(tmp_path / "out/ids/a.png") == MASK).all()
    assert not (tmp_path / "tier").exists()


def test_an_object_that_is_gone_is_named_and_the_rest_is_done(tmp_path):
    upload("photos/a.png")
    complaints = []
    output = Output(tmp_path / "out", ("ids",), *CLASSES)
    output.begin(new=False)
    inputs = [Input("memory://set/photos/a.png", "a"), Input("memory://set/photos/none.png", "none")]
    tally = predict_files(inputs, lambda image: MASK, output, lambda e: complaints.append(str(e)), lambda *_: None)
    assert (tally.done, tally.failed) == (1, 1)
    assert complaints == ["cannot read memory://set/photos/none.png: no such object"]


def test_inputs_are_named_like_files():
    upload("photos/a.png", "photos/b.jpg", "photos/deep/c.png")
    assert find_inputs(["memory://set/photos/*.png"]) == [Input("memory://set/photos/a.png", "a")]
    assert find_inputs(["memory://set/photos/b.jpg"]) == [Input("memory://set/photos/b.jpg", "b")]
    assert find_inputs(["-"], [b"memory://set/photos/a.png\n"]) == [Input("memory://set/photos/a.png", "photos/a")]
    with pytest.raises(UserError, match="for memory://set/none; check bucket and name"):
        find_inputs(["memory://set/none"])


def test_outputs_that_are_there_are_left_out():
    upload("photos/a.png")
    output = Output(RemotePath("memory://out"), ("ids",), *CLASSES)
    (entry,) = find_inputs(["memory://set/photos"])
    assert not output.is_there(entry)
    output.write(entry, IMAGE, MASK)
    assert output.is_there(entry)


def test_an_output_over_an_input_is_refused():
    upload("ids/a.png")
    with pytest.raises(UserError, match=r"memory://set/ids/a\.png would be written over memory://set/ids/a\.png"):
        predicted(["memory://set/ids/a.png"], Output(RemotePath("memory://set"), ("ids",), *CLASSES))


def test_a_checkpoint_comes_by_its_url(tmp_path):
    write_object("memory://runs/first/best.safetensors", b"weights")
    for place in ("memory://runs/first", "memory://runs/first/best.safetensors"):
        found = find_checkpoint(place)
        assert found.path.read_bytes() == b"weights" and found.path.suffix == ".safetensors"
        assert "memory://runs/first/best.safetensors" in str(found)
    with pytest.raises(UserError, match="no run or checkpoint at memory://runs/none"):
        find_checkpoint("memory://runs/none")


def test_an_image_from_python():
    upload("photos/a.png")
    assert (read_image(RemotePath("memory://set/photos/a.png")) == IMAGE).all()
    assert read_object("memory://set/photos/a.png") == encode_image(IMAGE)


@pytest.mark.parametrize(
    "root", ["https://me:hunter2@host/set", "https://host/set?sig=hunter2", "s3://k:hunter2@b/set"]
)
def test_a_config_takes_no_credentials(root):
    with pytest.raises(UserError, match=r"data\.root.* holds credentials") as caught:
        folder_config(root)
    assert "hunter2" not in str(caught.value)
