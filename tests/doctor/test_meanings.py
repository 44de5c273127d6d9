import numpy as np
import pytest
from PIL import Image
from support import write

from segdla.doctor.meanings import Meanings, meaning_of
from segdla.errors import UserError

RED, GREEN = (255, 0, 0), (0, 255, 0)


def mask(path, palette=None, ids=((0, 1),)):
    image = Image.fromarray(np.array(ids, np.uint8))
    if palette:
        image.putpalette([value for color in palette for value in color])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def labelme(root, number, *names):
    """Write what labelme_json_to_dataset makes of one image; return its mask."""
    folder = root / f"frame{number}_json"
    write(folder / "img.png", np.zeros((1, 2, 3), np.uint8))
    path = mask(folder / "label.png", (RED, GREEN))
    (folder / "label_names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return path


def test_only_ids_in_use_have_a_meaning(tmp_path):
    palette = meaning_of(mask(tmp_path / "a.png", (RED, GREEN, (9, 9, 9))))
    assert palette == {("colour", 0): RED, ("colour", 1): GREEN}
    assert meaning_of(mask(tmp_path / "b.png")) == {}
    names = meaning_of(labelme(tmp_path, 0, "_background_", "disc", "square"))
    assert [names["name", 0], names["name", 1]] == ["_background_", "disc"] and ("name", 2) not in names
    write(tmp_path / "frame0_json" / "label.png", np.zeros((1, 2, 3), np.uint8))
    assert meaning_of(tmp_path / "frame0_json" / "label.png") == {}  # of colours
    with pytest.raises(UserError, match="No such file"):
        meaning_of(tmp_path / "none.png")


def test_palettes_and_names_that_contradict_a_mask_before(tmp_path):
    meanings = Meanings()
    first, alike = mask(tmp_path / "a.png", (RED, GREEN)), mask(tmp_path / "b.png", (RED, (1, 1, 1)), ((0, 0),))
    assert [meanings.add(path, meaning_of(path)) for path in (first, alike)] == ["", ""]
    other = mask(tmp_path / "c.png", (GREEN, RED))
    assert meanings.add(other, meaning_of(other)).startswith(
        f"id 0 has the colour (255, 0, 0) in {first}, but (0, 255, 0) in {other}: the palettes differ"
    )
    masks = [labelme(tmp_path, number, "_background_", name) for number, name in enumerate(("disc", "disc", "square"))]
    texts = [meanings.add(path, meaning_of(path)) for path in masks]
    assert texts[:2] == ["", ""]
    assert "id 1 is 'disc' by" in texts[2] and "frame2_json/label_names.txt: each file numbers its own" in texts[2]
