import pytest
import torch

from segdla.errors import UserError
from segdla.export.formats import open_file


def test_a_file_of_two_says_which_is_gone(files, tmp_path):
    alone = tmp_path / "alone.xml"
    alone.write_bytes(files["openvino"].read_bytes())
    with pytest.raises(UserError, match=r"alone\.bin, which holds its weights, is not beside it"):
        open_file(alone, torch.device("cpu"))
