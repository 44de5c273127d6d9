"""The page in a real browser, if there is one."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from browser import open_window, require_harmless
from PIL import Image
from support import photo

from segdla.visualize import colorize


@pytest.fixture
def opened(chromium, service):
    """The page; at its end nothing may have gone wrong, and nothing may have been asked of others."""
    with open_window(chromium, service.address) as page:
        yield page
        require_harmless(page)


def until(window, code):
    """Wait for an expression; playwright's own way would need what the page's policy forbids."""
    end = time.monotonic() + 60
    while not window.evaluate(code):
        assert time.monotonic() < end, window.locator("#status").inner_text()
        time.sleep(0.05)


def choose(window, name, content):
    window.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})


@pytest.fixture
def predicted(opened, png, segmenter):
    """The page with an image's mask, the image, its class ids and confidence."""
    image, content = png(40, 60, 3)
    choose(opened, "a <b>street</b>.png", content)
    until(opened, "shown !== null")
    return opened, *segmenter.predict_with_confidence(image)


def test_names_are_shown_as_text_on_a_phone(opened):
    names = opened.locator("#legend b").all_text_contents()
    assert names[0] == '<img src=x onerror="window.hacked = 1">' and len(names) == 5
    assert opened.locator("#legend img, #legend script").count() == 0
    assert opened.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_dropped_image_gets_the_mask_that_the_segmenter_predicts(opened, png, segmenter):
    image, content = png(37, 53)
    script = """bytes => {
        const dropped = new DataTransfer();
        dropped.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
        return dropped;
    }"""
    opened.dispatch_event("#drop", "drop", {"dataTransfer": opened.evaluate_handle(script, list(content))})
    until(opened, "shown !== null")
    ids = np.array(opened.evaluate("[...shown.ids]"), np.uint8).reshape(37, 53)
    np.testing.assert_array_equal(ids, segmenter.predict(image))
    assert opened.evaluate("document.documentElement.scrollWidth") <= 375


def mask(window):
    """The canvas as an array (H,W,4)."""
    script = """() => {
        const shown = document.getElementById("mask"), { width, height } = shown;
        const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(shown, 0, 0);
        return [height, width, ...copy.getImageData(0, 0, width, height).data];
    }"""
    height, width, *values = window.evaluate(script)
    return np.array(values, np.uint8).reshape(height, width, 4)


def test_the_legend_toggles_classes(predicted, segmenter):
    window, class_ids, _ = predicted
    colors = colorize(class_ids, segmenter.palette)
    shown = class_ids != 4  # the background is not tinted
    np.testing.assert_array_equal(mask(window)[..., 3] > 0, shown)
    np.testing.assert_array_equal(mask(window)[shown, :3], colors[shown])
    gone = int(np.bincount(class_ids[shown]).argmax())
    window.locator(f"#legend input[value='{gone}']").uncheck()
    np.testing.assert_array_equal(mask(window)[..., 3] > 0, shown & (class_ids != gone))
    window.click("#all")
    assert mask(window)[..., 3].all()
    window.click("#none")
    assert not mask(window).any()


def test_opacity(predicted):
    window = predicted[0]
    window.locator("#opacity").fill("25")
    assert window.locator("#mask").evaluate("canvas => getComputedStyle(canvas).opacity") == "0.25"


def test_the_confidence_of_the_pixel_under_the_pointer(predicted, segmenter):
    window, class_ids, confidence = predicted
    box = window.locator("#stage").bounding_box()
    for y, x in ((3, 5), (22, 31), (39, 59)):
        window.mouse.move(box["x"] + (x + 0.5) / 60 * box["width"], box["y"] + (y + 0.5) / 40 * box["height"])
        said = window.locator("#hover").inner_text()
        assert f"(x {x}, y {y})" in said
        assert float(said.split("confidence ")[1].split(" %")[0]) == pytest.approx(100 * confidence[y, x], abs=0.3)
        name = window.locator(f"#legend li[data-id='{class_ids[y, x]}'] b").text_content()
        assert said.startswith(name)


def test_ids_and_colours_are_saved(predicted):
    window, class_ids, _ = predicted
    for button, ending in (("#save-ids", "ids"), ("#save-color", "colors")):
        with window.expect_download() as download:
            window.click(button)
        content = download.value.path().read_bytes()
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(content))), class_ids)
        assert download.value.suggested_filename.endswith(f"-{ending}.png")


def test_an_image_that_browsers_do_not_know(opened, png, segmenter):
    image, _ = png(20, 30)
    content = io.BytesIO()
    Image.fromarray(image).save(content, "TIFF")
    choose(opened, "a.tif", content.getvalue())
    until(opened, "shown !== null")
    assert opened.evaluate("[...shown.ids]") == segmenter.predict(image).ravel().tolist()
    assert opened.evaluate("document.getElementById('image').naturalWidth") == 30


def test_every_filter_of_png_is_undone(opened):
    """Encoders choose a filter for each row: none, by the left, by the upper, by their mean, by Paeth's guess."""
    samples = photo(25, 31, 7)[..., 0].astype(int)
    left, up, corner = (np.pad(samples, ((1, 0), (1, 0)))[y : 25 + y, x : 31 + x] for y, x in ((1, 0), (0, 1), (0, 0)))
    guess = left + up - corner
    far = np.stack([abs(guess - one) for one in (left, up, corner)])
    paeth = np.choose(far.argmin(0), [left, up, corner])
    rows = [0 * left, left, up, (left + up) // 2, paeth]
    lines = b"".join(
        bytes([y % 5]) + ((samples[y] - rows[y % 5][y]) % 256).astype(np.uint8).tobytes() for y in range(25)
    )
    data = zlib.compress(lines)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 31, 25, 8, 0, 0, 0, 0)), (b"IDAT", data[:99]), (b"IDAT", data[99:])]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*chunks, (b"IEND", b"")]
    )
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(content))), samples)  # or the test is wrong
    decoded = opened.evaluate("async bytes => [...await samplesOf(new Uint8Array(bytes), 31, 25)]", list(content))
    np.testing.assert_array_equal(np.reshape(decoded, (25, 31)), samples)


def test_a_video_is_shown_frame_by_frame_and_saved(opened, video, segmenter):
    content, images = video
    choose(opened, "drive.avi", content)
    until(opened, "document.getElementById('status').textContent.includes('or fewer a second')")
    assert opened.evaluate("frames.length") == 6
    opened.locator("#frame").fill("2")
    until(opened, "shown.answer.index === 2")
    assert opened.evaluate("[...shown.ids]") == segmenter.predict(images[4]).ravel().tolist()
    with opened.expect_download() as download:
        opened.click("#save-film button[data-kind=ids]")
    assert download.value.suggested_filename == "drive-ids.zip"


def test_the_camera(opened):
    opened.click("#camera")
    until(opened, "shown !== null && document.getElementById('status').textContent.startsWith('camera')")
    assert opened.evaluate("shown.ids.length === shown.answer.width * shown.answer.height")
    opened.click("#camera")
    assert opened.evaluate("camera") is None


def test_a_camera_that_nobody_waits_for_is_given_back(opened):
    """A browser may ask the user first, and meanwhile something else is asked of the page."""
    opened.evaluate("""() => {
        const lend = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        window.lent = [];
        navigator.mediaDevices.getUserMedia = async (wish) => {
            const stream = await lend(wish);
            window.lent.push(stream);
            return stream;
        };
        document.getElementById("camera").click();
        document.getElementById("camera").click();
    }""")
    live = "lent.filter((stream) => stream.active).length"
    until(opened, "lent.length === 2 && shown !== null")
    assert opened.evaluate(live) == 1
    opened.click("#camera")
    assert opened.evaluate(live) == 0


def test_a_film_that_is_no_longer_saved_is_no_problem(opened, video, png):
    choose(opened, "drive.avi", video[0])
    until(opened, "document.getElementById('status').textContent.includes('or fewer a second')")
    script = """bytes => {
        const own = say;
        window.problems = [];
        say = (text, wrong = false) => { own(text, wrong); if (wrong) window.problems.push(text); };
        document.querySelector("#save-film [data-kind=ids]").click();
        take(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
    }"""
    opened.evaluate(script, list(png(20, 30)[1]))
    until(opened, "document.getElementById('status').textContent.startsWith('30 x 20 pixels')")
    assert opened.evaluate("problems") == []


def test_a_bad_file_is_answered(opened):
    choose(opened, "a.png", b"<html>")
    until(opened, "document.getElementById('status').className === 'wrong'")
    assert opened.locator("#status").inner_text().startswith("the upload is a text, perhaps of a web page")
    assert opened.complaints.pop().startswith("Failed to load resource: the server responded with a status of 400")
