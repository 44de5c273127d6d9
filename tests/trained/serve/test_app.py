"""The service over real connections: its answers are the segmenter's, and bad uploads are answered."""

import base64
import http.client
import io
import json
import re
import signal
import socket
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from serving import serving

from segdla.media.video import VideoReader
from segdla.trained.serve.limits import Limits


def samples(content):
    return np.array(Image.open(io.BytesIO(content)))


def test_an_answer_is_what_the_segmenter_predicts(service, segmenter, png):
    image, content = png(37, 53)
    class_ids, confidence = segmenter.predict_with_confidence(image)
    assert len(np.unique(class_ids)) > 2  # or anything would be equal
    status, _, answer = service.post("/api/predict?pictures=ids&pictures=confidence&pictures=color", content)
    assert status == 200 and (answer["height"], answer["width"]) == (37, 53)
    pictures = {kind: samples(base64.b64decode(text)) for kind, text in answer["pictures"].items()}
    np.testing.assert_array_equal(pictures["ids"], class_ids)
    np.testing.assert_array_equal(pictures["color"], class_ids)  # its samples are the ids
    np.testing.assert_allclose(pictures["confidence"] / 255, confidence, atol=0.51 / 255)
    for share in answer["classes"]:
        here = class_ids == share["id"]
        assert share["pixels"] == here.sum() > 0
        assert share["share"] == pytest.approx(here.mean())
        assert share["confidence"] == pytest.approx(confidence[here].mean())
    assert sum(share["pixels"] for share in answer["classes"]) == class_ids.size


def test_a_picture_is_a_file(service, segmenter, png):
    image, content = png(37, 53)
    class_ids = segmenter.predict(image)
    expected = {"ids": class_ids, "color": class_ids, "overlay": None, "side-by-side": None, "confidence": None}
    for kind, pixels in expected.items():
        status, headers, body = service.post(f"/api/png/{kind}", content)
        assert (status, headers["content-type"]) == (200, "image/png")
        assert samples(body).shape[0] >= 37
        assert pixels is None or np.array_equal(samples(body), pixels)
    assert service.post("/api/png/image", content)[0] == 422  # which the sender has


def test_a_picture_that_is_asked_for_twice_is_drawn_once(service, png, monkeypatch):
    drawn = []
    monkeypatch.setattr("segdla.trained.serve.answers.encode_image", lambda array: drawn.append(array.shape) or b"")
    assert service.post("/api/predict?pictures=ids&pictures=ids", png(8, 9)[1])[0] == 200
    assert drawn == [(8, 9)]


def test_requests_at_once_get_their_own_masks(service, segmenter, png):
    pairs = [png(24 + 3 * seed, 40 + seed, seed) for seed in range(9)]  # one is computed, eight wait
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda pair: service.post("/api/png/ids", pair[1]), pairs))
    for (status, _, body), (image, _) in zip(answers, pairs, strict=True):
        assert status == 200
        np.testing.assert_array_equal(samples(body), segmenter.predict(image))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", "the upload is not an image: it is empty (0 bytes)"),
        ("text", "the upload is not an image: it can't be decoded"),
        ("page", "the upload is a text, perhaps of a web page"),
        ("pdf", "the upload is a PDF document, which can't be read; convert it to PNG or JPEG"),
        ("cut", "the upload is cut short (truncated)"),
        ("damaged", "its pixels are damaged"),
        ("two", "the upload holds 2 pictures"),
    ],
)
def test_a_bad_image_is_answered_in_the_reader_s_words(service, png, name, said):
    content = png(30, 40)[1]
    two = io.BytesIO()
    Image.new("L", (8, 8)).save(two, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 9)])
    bad = {
        "empty": b"",
        "text": b"hello",
        "page": b"<html>",
        "pdf": b"%PDF-1.7",
        "cut": content[:-30],
        "damaged": content.replace(content[content.index(b"IDAT") + 10 :][:60], bytes(60)),
        "two": two.getvalue(),
    }
    status, _, answer = service.post("/api/predict", bad[name])
    assert status == 400 and said in answer["detail"]
    assert not re.search(r"/\w", answer["detail"])  # no path


def test_limits(segmenter, png, video):
    within, content = png(20, 30)[1], png(21, 30)[1]
    with serving(segmenter, Limits(upload_bytes=len(video[0]), pixels=600, frames=6)) as service:
        assert service.post("/api/predict", within)[0] == 200
        status, _, answer = service.post("/api/predict", content)
        assert status == 413 and "21x30 pixels; at most 600" in answer["detail"]
        status, _, answer = service.post("/api/frames", video[0])
        assert status == 413 and "32x48 pixels" in answer["detail"]
        for body in (video[0] + b"1", iter([video[0], b"1"])):  # with a stated length, and in chunks
            status, _, answer = service.post("/api/predict", body)
            assert status == 413 and f"more than the {len(video[0]):,} bytes" in answer["detail"]
    with serving(segmenter, Limits(frames=6)) as service:
        assert service.post("/api/frames?frames_per_second=5", video[0])[0] == 200
        status, _, answer = service.post("/api/frames?frames_per_second=10", video[0])
        assert status == 413 and "12 frames of the video would be predicted, at most 6" in answer["detail"]


def test_an_upload_that_stands_still(service, monkeypatch):
    monkeypatch.setattr("segdla.trained.serve.limits.PATIENCE", 0.2)
    with socket.create_connection(service.host.split(":")) as half:
        half.sendall(b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        answer = http.client.HTTPResponse(half)
        answer.begin()
        assert answer.status == 408 and "nothing of the upload came for 0 s" in json.load(answer)["detail"]


@pytest.fixture
def gated(segmenter):
    """A segmenter that waits until the gate is open, the gate, and the sizes of what has been predicted so far."""
    gate, sizes, logits_of = threading.Event(), [], segmenter.trained.logits_of

    def wait(images):
        sizes.append(tuple(images.shape[-2:]))
        assert gate.wait(60)
        return logits_of(images)

    yield replace(segmenter, trained=replace(segmenter.trained, logits_of=wait)), gate, sizes
    gate.set()


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def until_asked(service, count):
    """Wait until so many requests are computed or wait."""
    until(lambda: service.server.config.app.state.queue._taken == count)


def test_a_full_queue_refuses_and_says_when_to_come_again(gated, png):
    slow, gate, sizes = gated
    content = png(16, 16)[1]
    with serving(slow, Limits(waiting=1)) as service, ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(service.post, "/api/png/ids", content) for _ in range(3)]
        until(lambda: any(call.done() for call in calls))
        (refused,) = (call.result() for call in calls if call.done())
        assert refused[0] == 503 and int(refused[1]["retry-after"]) >= 1
        assert "the queue is full" in refused[2]["detail"]
        gate.set()
        assert sorted(call.result()[0] for call in calls) == [200, 200, 503]
        assert service.post("/api/png/ids", content)[0] == 200  # its place is free again
    assert len(sizes) == 3


@pytest.mark.parametrize("path", ["/api/png/ids", "/api/frames", "/api/video/ids"])
def test_an_answer_that_nobody_waits_for_is_not_computed(gated, png, video, path):
    slow, gate, sizes = gated
    with serving(slow) as service, ThreadPoolExecutor(2) as pool:
        first = pool.submit(service.post, "/api/png/ids", png(16, 16)[1])
        until(lambda: sizes)
        abandoned = service.connect()
        abandoned.request("POST", path, png(24, 24)[1] if path == "/api/png/ids" else video[0])
        until_asked(service, 2)
        abandoned.close()
        until(lambda: len(service.server.server_state.connections) == 1)
        last = pool.submit(service.post, "/api/png/ids", png(8, 8)[1])
        until_asked(service, 3)
        gate.set()
        assert first.result()[0] == last.result()[0] == 200
    assert sizes == [(16, 16), (8, 8)]


def test_at_the_end_what_is_computed_is_the_last(gated, video, png):
    slow, gate, sizes = gated
    with serving(slow) as service, ThreadPoolExecutor(2) as pool:
        film = service.connect()
        film.request("POST", "/api/frames?frames_per_second=10", video[0])
        until(lambda: sizes)
        image = pool.submit(service.post, "/api/png/ids", png(8, 8)[1])
        until_asked(service, 2)
        service.server.handle_exit(signal.SIGTERM, None)
        gate.set()
        assert image.result()[0] == 503 and image.result()[2] == {"detail": "the service ends"}
        first, last = lines(film.getresponse().read())
        assert first["index"] == 0 and last == {"detail": "the service ends"}
        film.close()
    assert len(sizes) == 1


def lines(body):
    return [json.loads(line) for line in body.decode().splitlines()]


def test_frames_of_a_video_are_thinned_and_predicted(service, segmenter, video):
    content, images = video
    status, headers, body = service.post("/api/frames?frames_per_second=4", content)
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    frames = lines(body)
    assert [frame["seconds"] for frame in frames] == [0, 0.3, 0.5, 0.8, 1.0]  # the first ones of each quarter
    assert [frame["index"] for frame in frames] == [0, 1, 2, 3, 4] and frames[0]["frames"] == 5
    for frame in frames:
        ids = samples(base64.b64decode(frame["pictures"]["ids"]))
        np.testing.assert_array_equal(ids, segmenter.predict(images[round(10 * frame["seconds"])]))


def test_a_video_becomes_a_file(service, segmenter, video, tmp_path):
    content, images = video
    status, headers, body = service.post("/api/video/overlay?frames_per_second=5", content)
    assert (status, headers["content-type"]) == (200, "video/mp4") and int(headers["content-length"]) == len(body)
    (tmp_path / "v.mp4").write_bytes(body)
    reader = VideoReader(tmp_path / "v.mp4")
    assert (reader.num_frames, reader.rate) == (6, 5)
    reader.close()
    status, headers, body = service.post("/api/video/ids", content)
    assert (status, headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        assert len(names) == 12
        for name, image in zip(names, images, strict=True):
            np.testing.assert_array_equal(samples(archive.read(name)), segmenter.predict(image))


def test_a_video_that_is_left_in_the_middle_frees_its_place(gated, video, png):
    slow, gate, sizes = gated
    gate.set()
    with serving(slow, Limits(waiting=1)) as service:
        for _ in range(3):
            leaving = service.connect()
            leaving.request("POST", "/api/frames?frames_per_second=10", video[0])
            leaving.getresponse().readline()
            leaving.close()
        until(lambda: service.post("/api/png/ids", png(8, 8)[1])[0] == 200)
    assert sizes.count((8, 8)) == 1


def test_a_video_that_breaks_off_says_so_at_its_end(service, video):
    cut = video[0][: len(video[0]) * 3 // 4]
    *frames, last = lines(service.post("/api/frames", cut)[2])
    assert frames and re.fullmatch(r"the video breaks off after \d of 12 frames", last["detail"])
    status, _, answer = service.post("/api/video/color", cut)
    assert status == 400 and "breaks off" in answer["detail"]


@pytest.mark.parametrize("start", [b"#EXTM3U\n", b"ffconcat version 1.0\n", b"G", b""])
def test_a_playlist_is_no_video(service, start):
    """It names other files, which FFmpeg would open."""
    status, _, answer = service.post("/api/frames", start + b"file 'x.mp4'\n" * 99 * bool(start))
    assert status == 400 and "the upload is not a video of a kind that is taken here" in answer["detail"]


def test_a_container_without_a_video(service):
    status, _, answer = service.post("/api/frames", b"\x00\x00\x00\x18ftypmp42" + bytes(99))
    assert status == 400 and answer["detail"].startswith("the upload is not a video that can be decoded")
    assert not re.search(r"/\w", answer["detail"])


def test_names_of_classes_are_texts_without_control_characters(service):
    names = [one["name"] for one in service.get("/api/network")[2]["classes"]]
    assert names[0] == '<img src=x onerror="window.hacked = 1">'
    assert names[2:4] == ['"quo\'tes" & \\x1b[31mred', "pla\\u202ein \\udcff"]
    assert [one["tinted"] for one in service.get("/api/network")[2]["classes"]] == [True] * 4 + [False]


def test_a_wrong_parameter_is_one_line(service):
    pngs = "'ids', 'color', 'overlay', 'side-by-side' or 'confidence'"
    words = {
        "/api/png/x": f"kind 'x': input should be {pngs}",
        "/api/frames?frames_per_second=0": "frames_per_second '0': input should be greater than 0",
        "/api/predict?pictures=<b>": f"pictures '<b>': input should be {pngs.replace(' or', ',')} or 'image'",
    }
    for path, detail in words.items():
        status, _, answer = service.post(path)
        assert (status, answer["detail"]) == (422, detail)


def test_the_description_names_every_endpoint(service):
    paths = service.get("/openapi.json")[2]["paths"]
    assert set(paths) == {"/api/network", "/api/predict", "/api/png/{kind}", "/api/frames", "/api/video/{kind}"}
    for methods in paths.values():
        for method, operation in methods.items():
            assert method == "get" or "application/octet-stream" in operation["requestBody"]["content"]
            assert operation["summary"] and operation["description"]
            assert method == "get" or {"400", "413", "503"} <= set(operation["responses"])


def test_an_image_turned_by_exif_and_one_of_16_bits(service, segmenter, tmp_path):
    image = np.random.default_rng(0).integers(0, 2**16, (20, 30), np.uint16)
    cv2.imwrite(str(tmp_path / "wide.png"), image)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray((image >> 8).astype(np.uint8)).save(tmp_path / "turned.png", exif=exif)
    for name in ("wide.png", "turned.png"):
        body = service.post("/api/png/ids", (tmp_path / name).read_bytes())[2]
        np.testing.assert_array_equal(samples(body), segmenter.predict(tmp_path / name))
