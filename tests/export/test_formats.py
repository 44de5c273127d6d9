import re
import sys
from functools import partial

import pytest
import torch
from support import ROOT

from segdla.errors import UserError
from segdla.export.formats import FORMATS, is_exported, open_file, read_card_of, write_file
from segdla.export.verify import differences, pictures
from segdla.trained.open import labels_whole_images

CPU = torch.device("cpu")
ANY_SIZE = [kind for kind, module in FORMATS.items() if not module.ONE_SIZE]


def test_exported_files_are_known_by_their_suffix(files, tmp_path):
    assert all(map(is_exported, files.values()))
    assert not is_exported(tmp_path / "best.safetensors") and not is_exported(tmp_path / "onnx")


@pytest.mark.parametrize("kind", ANY_SIZE)
def test_a_file_computes_what_the_network_does_at_any_size(network, files, kind):
    exported = open_file(files[kind], CPU)
    for difference in differences(network, exported, pictures(((64, 96), (75, 101), (13, 40), (128, 33)))):
        assert difference.logits < 1e-4 * difference.largest, difference
        assert difference.differing <= 2, difference  # ties


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_takes_batches(network, files, kind):
    images = torch.cat(pictures(((40, 56), (40, 56), (40, 56))))
    with torch.inference_mode():
        torch.testing.assert_close(open_file(files[kind], CPU).logits_of(images), network.logits(images))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_card_travels_along(files, kind, card):
    exported = open_file(files[kind], CPU)
    assert (exported.card, exported.stride, exported.precision, exported.arithmetic) == (card, 2, "fp32", "")
    assert exported.size == ((40, 56) if FORMATS[kind].ONE_SIZE else None)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_card_is_read_without_readying_the_network(files, kind, card, monkeypatch):
    monkeypatch.setattr(FORMATS[kind], "read", lambda *_: pytest.fail("it takes seconds"))
    assert read_card_of(files[kind]) == card
    assert not labels_whole_images(files[kind])


@pytest.mark.parametrize("kind", ["onnx", "openvino", "ncnn"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="these would compute there")
def test_where_a_runtime_has_no_other_device_it_says_so(files, kind):
    assert open_file(files[kind], torch.device("cuda")).device == CPU


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_cut_short_is_refused(files, kind, tmp_path):
    short = tmp_path / files[kind].name
    short.write_bytes(files[kind].read_bytes()[:300])
    short.with_suffix(".bin").touch()  # of OpenVINO's two
    for ask in (read_card_of, partial(open_file, device=CPU)):
        with pytest.raises(UserError, match=r"is not a file that segdla exported .*; export the network again"):
            ask(short)


def test_the_docs_read_the_classes_without_segdla(files, card, monkeypatch):
    page = (ROOT / "docs" / "exporting.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(snippets) == len(FORMATS)
    keys = set()
    for kind, code in zip(FORMATS, snippets, strict=True):
        if kind not in files:
            continue
        path = files[kind]
        assert "import segdla" not in code and "from segdla" not in code
        monkeypatch.chdir(path.parent)
        found = {}
        exec(code.replace(f"best{path.suffix}", path.name), found)
        assert found["card"]["classes"] == list(card.classes.names), kind
        assert found["card"]["palette"] == [list(color) for color in card.classes.palette], kind
        keys |= found["card"].keys()
    table = page.split("The keys of a card:")[1].split("\n## ")[0]
    documented = {
        key for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }
    assert documented == keys | {"arithmetic", "size"}


def test_a_file_whose_card_is_damaged_is_refused(files, tmp_path, monkeypatch):
    torch_format = FORMATS["torch"]
    monkeypatch.setattr(torch_format, "read", lambda path, device: (None, '{"stride": 2, "precision": "fp32"}', device))
    with pytest.raises(UserError, match="is not a file that segdla exported"):
        open_file(files["torch"], CPU)


def test_a_missing_package_is_named(network, card, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r'pip install "segdla\[onnx\]"'):
        write_file(network, card, tmp_path / "x.onnx", "onnx")


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_int8_is_near_on_every_processor(network, card, int8, kind):
    """Rounding alone is allowed for; saturating sums of 16 bits, which only some processors have, are not.

    Rounding to steps of s is an error of rms s/sqrt(12). Weights take steps of 1/63 of the largest, which is 3 times
    their rms; inputs and outputs steps of 1/255 of a range of 8 times theirs. So a convolution's error is the root of
    (3/63)^2 + 2 (8/255)^2, over sqrt(12): 1.9 % of its rms. Six follow each other: 11 %, were all errors to add up.
    """
    exported = open_file(int8[kind], CPU)
    assert (exported.precision, exported.arithmetic, exported.card) == ("int8", "AVX2", card)
    for image in pictures():  # on which the ranges were found: nothing is clipped
        with torch.inference_mode():
            ours, theirs = network.logits(image), exported.logits_of(image)
        error = (ours - theirs).square().mean().sqrt() / ours.square().mean().sqrt()
        assert 0 < error < 0.11
    for difference in differences(network, exported, pictures()):
        assert 0 < difference.logits < 0.2 * difference.largest, difference
