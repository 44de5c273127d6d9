import json
import sys
import zipfile

import numpy as np
import pytest
import torch

from segdla.errors import UserError
from segdla.export.formats import write_file
from segdla.export.verify import pictures


def test_another_program_gets_logits_of_what_is_unzipped(network, files, tmp_path):
    path = files["ncnn"]
    import ncnn

    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    assert json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))["divisor"] == network.divisor
    net = ncnn.Net()
    net.load_param(str(tmp_path / "model.ncnn.param"))
    net.load_model(str(tmp_path / "model.ncnn.bin"))
    image = pictures(((32, 48),))[0]
    pixels = image[0].float().numpy()  # kept: a Mat borrows an array's memory
    with net.create_extractor() as extractor:
        extractor.input("in0", ncnn.Mat(pixels))
        logits = torch.tensor(np.array(extractor.extract("out0")[1]))  # a copy, while the Mat is there
    with torch.inference_mode():
        torch.testing.assert_close(logits[None], network.logits(image), rtol=1e-2, atol=1e-2)  # ncnn's bf16 or fp16


def test_what_pnnx_refuses_is_answered(files, network, card, tmp_path, monkeypatch):
    assert files["ncnn"].is_file()
    monkeypatch.setattr(sys.modules["pnnx"], "EXEC_PATH", "false")
    with pytest.raises(UserError, match=r"^pnnx can't convert this network \(.*\); choose --format onnx or litert$"):
        write_file(network, card, tmp_path / "a.ncnn", "ncnn")
