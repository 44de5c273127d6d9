"""The page of examples/browser in a real browser, beside what onnxruntime computes of the same file."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import open_window, require_harmless
from support import ROOT

from segdla.export.verify import pictures

RUNTIME = Path(os.environ.get("ONNXRUNTIME_WEB", ROOT / "node_modules" / "onnxruntime-web" / "dist"))
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.skipif(not RUNTIME.is_dir(), reason="onnxruntime-web is not here: npm install --no-save onnxruntime-web")
def test_a_dropped_image_gets_the_classes_of_the_file(chromium, address, checkpoint, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason='pip install "segdla[onnx]"')
    import segdla

    shutil.copy(ROOT / "examples" / "browser" / "index.html", tmp_path)
    for name in FILES:
        shutil.copy(RUNTIME / name, tmp_path)
    segdla.load(checkpoint, "cpu").export(tmp_path / "best.onnx")
    image = pictures(((45, 70),))[0]
    cv2.imwrite(str(tmp_path / "photo.png"), image[0].permute(1, 2, 0).numpy()[..., ::-1])
    (expected,) = onnxruntime.InferenceSession(tmp_path / "best.onnx").run(["prediction"], {"images": image.numpy()})
    with open_window(chromium, address) as page:
        page.locator("[type=file]").set_input_files(tmp_path / "photo.png")
        page.wait_for_selector("[data-done=yes]")
        ids = np.array(page.evaluate("Array.from(ids)")).reshape(45, 70)
        names = page.locator("li").all_inner_texts()
        require_harmless(page)
    assert np.mean(ids != expected[0]) <= 1e-3
    assert names == list(segdla.load(tmp_path / "best.onnx", "cpu").classes)
