import fsspec
import pytest
import torch

from segdla.checkpoints.find import find_checkpoint
from segdla.errors import UserError
from segdla.export.formats import open_file
from segdla.machine.remote.object_store import write_object


def test_a_file_of_two_says_which_is_gone(files, tmp_path):
    alone = tmp_path / "alone.xml"
    alone.write_bytes(files["openvino"].read_bytes())
    with pytest.raises(UserError, match=r"alone\.bin, which holds its weights, is not beside it"):
        open_file(alone, torch.device("cpu"))


def test_both_files_come_by_the_url_of_the_first(files, network, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGDLA_CACHE", str(tmp_path / "tier"))
    image, path = torch.zeros(1, 3, 40, 56, dtype=torch.uint8), files["openvino"]
    try:
        write_object("memory://nets/small.xml", path.read_bytes())
        with pytest.raises(UserError, match=r"no run or checkpoint at memory://nets/small\.bin: no such object"):
            find_checkpoint("memory://nets/small.xml")
        write_object("memory://nets/small.bin", path.with_suffix(".bin").read_bytes())
        for _ in range(2):  # from the storage, and from here
            exported = open_file(find_checkpoint("memory://nets/small.xml").path, torch.device("cpu"))
            torch.testing.assert_close(exported.logits_of(image), network.logits(image), rtol=1e-3, atol=1e-4)
        with pytest.raises(UserError, match=r"holds the weights of an exported network; name small\.xml there"):
            find_checkpoint("memory://nets/small.bin")
    finally:
        fsspec.filesystem("memory").store.clear()
