"""The page as a parser reads it: no name becomes markup, nothing is loaded, and its numbers are those of the JSON."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from segdla.report.page import shown

VOID = {"meta", "img", "input", "br", "link"}


class Parsed(HTMLParser):
    """The elements of a page, each with its attributes and text, and texts by element's name."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.open[-1][2] += data

    def of(self, tag):
        return [(attributes, text) for name, attributes, text in self.elements if name == tag]


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def record(page):
    return json.loads(page.with_name("eval_val_flip.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(parsed):
    """The texts and values of the cells of each table, by rows."""
    tables, row = [], []
    for tag, attributes, text in parsed.elements:
        if tag == "table":
            tables.append([])
        elif tag == "tr":
            row = []
            tables[-1].append(row)
        elif tag in ("td", "th"):
            row.append((text.strip(), attributes.get("data-v")))
    return tables


def test_no_name_becomes_markup(parsed, record):
    assert [attributes for attributes, _ in parsed.of("script") if "type" not in attributes] == [{}]
    assert not [
        name for attributes, _ in parsed.of("img") for name in attributes if name not in ("src", "alt", "decoding")
    ]
    assert not parsed.of("b")[0][1].startswith("bold")
    assert "u" not in {tag for tag, _, _ in parsed.elements}
    assert not [name for _, attributes, _ in parsed.elements for name in attributes if name.startswith("on")]
    headers = [text.strip() for _, text in parsed.of("th")]
    for name in record["iou"]:
        assert headers.count(shown(name)) >= 2  # in the scores, and as a row of confusions
    assert "\x1b" not in "".join(text for _, _, text in parsed.elements)


def test_control_characters_are_escaped_and_the_rest_stays():
    assert shown("\x1b[31m <b>é漢</b> \u202e \udcff") == "\\x1b[31m <b>é漢</b> \\u202e \\udcff"


def test_nothing_is_loaded_and_no_other_script_runs(parsed):
    for _, attributes, _ in parsed.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    (policy,) = [a["content"] for a, _ in parsed.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    (script,) = (text for attributes, text in parsed.of("script") if not attributes)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;") and f"script-src 'sha256-{digest}'" in policy
    assert "url(" not in re.sub(r"url\(#", "", "".join(text for _, text in parsed.of("style")))


def test_its_numbers_are_those_of_the_record(rows, record):
    scores = rows[0]
    keys = {1: "iou", 3: "precision", 4: "accuracy"}
    for row, name in zip(scores[1:], record["iou"], strict=False):
        assert row[0] == (shown(name), shown(name))
        for column, key in keys.items():
            value = record[key][name]
            assert row[column][1] == ("" if value is None else repr(value))
            assert row[column][0] == ("-" if value is None else f"{100 * value:.2f}")
        for column, other in ((5, "boundary_iou"), (6, "calibration")):
            value = record["other"][other]["iou" if other == "boundary_iou" else "ece_by_class"][name]
            assert row[column][1] == ("" if value is None else repr(value))
    assert scores[-1][1][1] == repr(record["mean_iou"])


def test_rows_of_the_confusion_matrix_are_shares_of_a_class(rows):
    matrix = rows[2]
    shares = [[float(value) for _, value in row[1:]] for row in matrix[1:]]
    assert [round(sum(row), 9) for row in shares] == [1] * 5


def test_its_data_name_images_with_pictures(parsed, record):
    data = json.loads(parsed.of("script")[0][1])
    images = {attributes.get("id"): text for attributes, text in parsed.of("script")}
    assert data["classes"] == [shown(name) for name in record["iou"]]
    heading, worst = data["gallery"][0]
    assert heading == "images of lowest mIoU" and len(worst) == 5 and len(data["gallery"]) == 6
    assert worst == sorted(worst, key=lambda name: data["pictures"][name]["mean_iou"])
    for names in (names for _, names in data["gallery"]):
        for place in (data["pictures"][name]["place"] for name in names):
            assert json.loads(images[f"picture-{place}"])["error"].startswith("data:image/webp")
    for cell, images in data["behind"].items():
        truth = int(cell.split(",")[0])
        assert 0 < images[0][1] <= data["pixels"][truth]
        assert images == sorted(images, key=lambda pair: -pair[1])


def test_the_other_record_of_the_network_stands_beside_and_not_its_own(rows):
    assert [[text for text, _ in row[:4]] for row in rows[1][1:]] == [["eval_val.json", "1.0", "no", "auto"]]


def test_no_setting_is_blank(parsed):
    said = dict(zip(*([text for _, text in parsed.of(tag)] for tag in ("dt", "dd")), strict=True))
    assert said["scales"] == "1.0" and said["trained_on"] == "no" and said["protocol"] == "none"
    assert "" not in said.values()


def test_classes_by_split(rows, hostile):
    targets = np.stack([hostile.read(index)[1] for index in range(len(hostile))])
    for row, name, class_id in zip(rows[5][1:], hostile.classes.names, range(5), strict=True):
        share = (targets == class_id).sum() / (targets < 5).sum()
        assert row[0][0] == shown(name) and float(row[1][1]) == pytest.approx(share, abs=1e-15)
        assert row[2][0] == str((targets == class_id).any((1, 2)).sum())
    assert rows[4][1][:3] == [("val", "val"), ("12", "12"), ("12 of 24 x 32", "1")]


def test_what_changed(parsed, rows, page, record):
    before = json.loads(page.with_name("eval_val.json").read_text(encoding="utf-8"))
    for column, one in ((1, before), (2, record)):
        assert [float(row[column][1]) for row in rows[3][1:]] == [*one["iou"].values(), one["mean_iou"]]
    mean = rows[3][-1]
    assert float(mean[3][1]) == pytest.approx(record["mean_iou"] - before["mean_iou"], abs=1e-15)
    assert "flip" in [text for _, text in parsed.of("dt")]
