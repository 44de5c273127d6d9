import io
import json
import sys

import numpy as np
import pytest
from PIL import Image
from support import photo, write

from segdla.config import parse_yaml
from segdla.data.archives import read_packed, read_text, state_file
from segdla.data.from_config import open_split
from segdla.data.images import read_image, read_mask
from segdla.data.listing import list_images
from segdla.doctor.from_config import write_label_draft
from segdla.doctor.mask_folders import find_mask_folders
from segdla.errors import UserError

pa = pytest.importorskip("pyarrow")
IMAGE = {"_type": "Image"}
FEATURES = {
    "image": IMAGE,
    "label": IMAGE,
    "objects": [{"category": {"names": ["road", "car"], "_type": "ClassLabel"}}],
}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def ids(i):
    mask = np.zeros((40, 56), np.uint8)
    mask[: 10 + i] = 1
    return mask


def table(numbers, features=FEATURES):
    """A table as ``datasets`` writes it: images as bytes and paths, and the features in the metadata."""
    rows = {
        "image": [{"bytes": png(photo(40, 56, i)), "path": None} for i in numbers],
        "label": [{"bytes": png(ids(i)), "path": f"{i}.png"} for i in numbers],
        "number": list(numbers),
    }
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({"image": kind, "label": kind, "number": pa.int64()})
    noted = json.dumps({"info": {"features": features}})
    return pa.table(rows, schema.with_metadata({"huggingface": noted}))


@pytest.fixture(params=["parquet", "arrow"])
def folder(tmp_path, request):
    """A data set of 7 images to train on, in two tables, and 2 to validate on."""
    root = tmp_path / "set"
    parts = {"train-00000-of-00002": range(3), "train-00001-of-00002": range(3, 7), "validation-00000-of-00001": (7, 8)}
    for name, numbers in parts.items():
        if request.param == "parquet":
            from pyarrow import parquet

            (root / "data").mkdir(parents=True, exist_ok=True)
            parquet.write_table(table(numbers), root / "data" / f"{name}.parquet", row_group_size=2)
            continue
        split = root / name.partition("-")[0]
        split.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(split / f"{name}.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table([]).schema) as writer:
            writer.write_table(table(numbers), max_chunksize=2)
        files = [{"filename": file.name} for file in sorted(split.glob("*.arrow"))]
        (split / "state.json").write_text(json.dumps({"_data_files": files}), encoding="utf-8")
    return root


def test_columns_are_folders(folder):
    names = [path.relative_to(folder).as_posix() for path in list_images(folder)]
    columns = ("train/image", "train/label", "validation/image", "validation/label")
    assert names == [f"{c}/{i:07d}.png" for c in columns for i in range(7 if "train" in c else 2)]
    for i in (6, 0, 3, 2):
        np.testing.assert_array_equal(read_image(folder / "train" / "image" / f"{i:07d}.png"), photo(40, 56, i))
        np.testing.assert_array_equal(read_mask(folder / "train" / "label" / f"{i:07d}.png"), ids(i))
    assert read_text(folder / "train" / "classes.txt") == "road\ncar"
    assert "train-00001" in state_file(folder / "train" / "image" / "0000005.png").name
    splits = [(folder / split / "image", folder / split / "label") for split in ("train", "validation")]
    assert find_mask_folders(folder) == splits


def test_from_a_table_to_a_config(folder, tmp_path, known_pace):
    write_label_draft(folder, tmp_path / "mine.yaml")
    config = parse_yaml((tmp_path / "mine.yaml").read_text(encoding="utf-8"))
    assert config.data.classes == ("road", "car")
    source = open_split(config, "train")
    np.testing.assert_array_equal(source.read(4)[1], ids(4))
    assert len(source) == 7 and len(open_split(config, "val")) == 2


def test_as_datasets_writes_it(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"pixels": datasets.Image(), "mask": datasets.Image()})
    rows = {
        "pixels": [Image.fromarray(photo(8, 10, i)) for i in range(3)],
        "mask": [Image.fromarray(ids(i)) for i in range(3)],
    }
    data = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "disk")
    data.to_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet")
    for root in (tmp_path / "disk", tmp_path / "hub"):
        for i in range(3):
            np.testing.assert_array_equal(read_image(root / "train" / "pixels" / f"{i:07d}.png"), photo(8, 10, i))
            np.testing.assert_array_equal(read_mask(root / "train" / "mask" / f"{i:07d}.png"), ids(i))


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("data/train-00000-of-00002-8a4f0b1c.parquet", "data/train-00001-of-00002-91d2e3f4.parquet"), "train/"),
        (("train/0000.parquet", "train/0001.parquet", "validation/0000.parquet"), "train/"),  # the hub's conversion
        (("0000.parquet", "0001.parquet"), ""),
        (("train.parquet",), "train/"),
    ],
)
def test_names_of_parquet_files(tmp_path, names, split):
    from pyarrow import parquet

    for i, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        parquet.write_table(table([i]), tmp_path / name)
    count = len([name for name in names if "validation" not in name])
    images = tmp_path / split / "image"
    assert list_images(images) == [images / f"{i:07d}.png" for i in range(count)]
    for i in range(count):
        np.testing.assert_array_equal(read_image(images / f"{i:07d}.png"), photo(40, 56, i))


def test_tables_of_several_data_sets_are_not_mixed(tmp_path):
    from pyarrow import parquet

    for name in ("instances", "scenes"):
        (tmp_path / name).mkdir()
        parquet.write_table(table([0]), tmp_path / name / "train-00000-of-00001.parquet")
    with pytest.raises(UserError, match=r"holds tables of train in .*instances and .*scenes, .*name one of these"):
        list_images(tmp_path)
    assert len(list_images(tmp_path / "scenes")) == 2


@pytest.mark.parametrize("name", ["images/a.png", "DCIM/IMG_1.JPG", "a.bmp"])
def test_a_table_beside_images_is_left_alone(tmp_path, name):
    from pyarrow import parquet

    write(tmp_path / name, photo(8, 8))
    parquet.write_table(table([0, 1]), tmp_path / "notes.parquet")
    assert list_images(tmp_path) == [tmp_path / name]


def test_a_table_without_images_is_a_file_as_any_other(tmp_path):
    from pyarrow import parquet

    parquet.write_table(pa.table({"x": [1]}), tmp_path / "notes.parquet")
    with pytest.raises(UserError, match=r"but other files \(1 .parquet\)"):
        list_images(tmp_path)


def test_images_that_are_not_in_the_table(tmp_path):
    from pyarrow import parquet

    rows = table([0, 1]).to_pylist()
    rows[0]["image"] = {"bytes": None, "path": "gone.png"}
    rows[0]["label"] = {"bytes": None, "path": "x" * 300}  # which no file system has
    rows[1]["image"] = {"bytes": None, "path": "beside"}
    (tmp_path / "beside").write_bytes(b"beside")
    parquet.write_table(pa.Table.from_pylist(rows, table([]).schema), tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"row 0 of .*train.parquet has no image in 'image', but the name of a file"):
        read_packed(tmp_path / "train" / "image" / "0000000.png")
    with pytest.raises(UserError, match=r"row 0 of .*train.parquet"):
        read_packed(tmp_path / "train" / "label" / "0000000.png")
    assert read_packed(tmp_path / "train" / "image" / "0000001.png") == b"beside"


def test_a_damaged_table_and_a_missing_package(tmp_path, monkeypatch):
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"train.parquet is no table that can be read"):
        list_images(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'take the package pyarrow: pip install "segdla\[arrow\]"'):
        list_images(tmp_path)
