import numpy as np
import pytest
from exports import BOX, BOX_PIXELS, SIZE, targets, write_images, write_json, zipped

from segdla.data.annotations import annotations, recognise
from segdla.data.annotations.label_studio import unpack_runs
from segdla.errors import UserError

# The runs (RLE) of a brush as label-studio-converter's encode_rle packs them: of RGBA, four equal samples a pixel.
PER_CENT = [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in BOX]


def result(kind="polygonlabels", label="car", **value):
    sizes = {"original_width": 8, "original_height": 6, "image_rotation": 0}
    return {**sizes, "type": kind, "from_name": "label", "to_name": "image", "value": {**value, kind: [label]}}


def task(image, *results, **more):
    annotation = {"id": 1, "was_cancelled": False, "ground_truth": False, "result": list(results)}
    return {"id": 1, "data": {"image": image}, "annotations": [annotation | more]}


def packed(samples):
    """Pack samples by the description in unpack_runs: runs of one value, of up to 256."""
    bits = f"{len(samples):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    place = 0
    while place < len(samples):
        value = samples[place]
        length = next((i for i, other in enumerate(samples[place : place + 256]) if other != value), None)
        length = length or len(samples[place : place + 256])
        bits += "1" + "10" + f"{length - 1:08b}" + f"{value:08b}"
        place += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "ls" / "images", "a.png", "b.png")
    return tmp_path / "ls"


def save(folder, *tasks):
    return write_json(folder / "project-1.json", list(tasks)).parent


def test_polygons_in_the_order_of_drawing_from_a_folder_and_a_zip(folder, tmp_path):
    inner = [[25, 33.4], [50, 33.4], [50, 50], [25, 50]]
    save(
        folder,
        task("/data/upload/1/0a1b2c3d-a.png", result(points=PER_CENT), result(label="person", points=inner)),
        task("/data/local-files/?d=images/b.png", result("choices")),
        {"id": 3, "data": {"image": "c.png"}, "annotations": []},  # not labelled yet
        task("d.png", was_cancelled=True),  # skipped
    )
    for labels in (folder, zipped(folder, tmp_path / "ls.zip")):
        assert recognise(labels) == "label_studio"
        found = targets(labels, "label_studio")
        assert (found["a"] == 2).sum() == 2
        np.testing.assert_array_equal(found["a"] > 0, BOX_PIXELS)
        assert not found["b"].any()


def test_brushes_and_ellipses(folder):
    brush = result("brushlabels", format="rle", rle=packed((BOX_PIXELS * 255).repeat(4).tolist()))
    ellipse = result("ellipselabels", "person", x=81.25, y=75, radiusX=6, radiusY=6, rotation=0)
    found = targets(save(folder, task("s3://bucket/a.png", brush, ellipse)), "label_studio")["a"]
    assert found[4, 6] == 2
    found[4, 6] = 0
    np.testing.assert_array_equal(found, BOX_PIXELS)


def test_values_that_differ_are_unpacked_too():
    bits = f"{4:032b}" + f"{7:05b}" + "0010" * 4 + "0" + "00" + "010" + "".join(f"{i:08b}" for i in (9, 8, 7))
    bits += "1" + "00" + "000" + f"{6:08b}"
    content = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert unpack_runs(content, "here").tolist() == [9, 8, 7, 6]


def test_the_ground_truth_counts_among_several_annotations(folder):
    first, second = task("a.png", result(points=PER_CENT)), task("a.png", result(label="person", points=PER_CENT))
    first["annotations"] += second["annotations"]
    assert (targets(save(folder, first), "label_studio")["a"] == 1).sum() == 12
    first["annotations"][1]["ground_truth"] = True
    assert (targets(save(folder, first), "label_studio")["a"] == 2).sum() == 12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (result(points=PER_CENT[:2]), r"value.points has 2 corners"),
        (result("rectanglelabels", x=1, y=2, width=3, height=4), "which holds what is around the object too"),
        (result("brushlabels", rle=packed([255] * 40)), "is of 10 pixels, not of 6x8"),
        (result("brushlabels", rle=packed([255] * 192)[:-2]), "rle is cut short"),
        (result("brushlabels", rle=[1, "a"]), "not a list of bytes"),
        (result(points=PER_CENT) | {"original_width": 9}, "a.png is 6x8 .* labelled as 6x9"),
        ({"type": "polygonlabels", "value": {}}, "has no 'original_height'"),
        (result(points=PER_CENT) | {"value": {"points": PER_CENT}}, r"has no label \('polygonlabels'\)"),
    ],
)
def test_results_that_are_no_shapes(folder, wrong, message):
    source = annotations(save(folder, task("a.png", wrong)), "label_studio", ("car", "person"))
    with pytest.raises(UserError, match=message) as error:
        source.read(0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("x", "y", "width", "height", "rotation"), [(1, 1, 4, 3, 0), (5, 1, 3, 4, 90)])
def test_a_box_of_a_label_that_is_ignored(folder, x, y, width, height, rotation):
    """It is turned around its upper left corner."""
    sides = {"x": 12.5 * x, "y": 100 * y / 6, "width": 12.5 * width, "height": 100 * height / 6, "rotation": rotation}
    save(folder, task("a.png", result("rectanglelabels", "sign", **sides)))
    np.testing.assert_array_equal(targets(folder, "label_studio", ignore=["sign"])["a"], 255 * BOX_PIXELS)


def test_the_file_that_was_uploaded_if_the_data_name_none(folder):
    save(folder, task("https://store/1?signature=2", result(points=PER_CENT)) | {"file_upload": "0a1b2c3d-a.png"})
    np.testing.assert_array_equal(targets(folder, "label_studio")["a"], BOX_PIXELS)


def test_images_that_are_missing(folder):
    problems = annotations(save(folder, task("/data/upload/0a1b2c3d-c.png")), "label_studio", ("car", "road")).problems
    assert len(problems) == 1 and "project-1.json[0]: no image 'c.png' in" in problems[0]
