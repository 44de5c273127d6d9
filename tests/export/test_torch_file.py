import zipfile

import pytest
import torch

from segdla.errors import UserError
from segdla.export.formats import open_file


class Payload:
    def __reduce__(self):
        return print, ("the payload ran",)


@pytest.mark.parametrize("planted", ["archive", '{"config": {"use_pickle": true}}', '[{"use_pickle":true}]'])
def test_code_in_a_file_is_refused_unrun(files, planted, tmp_path, capfd):
    path = tmp_path / "planted.pt2"
    path.write_bytes(files["torch"].read_bytes())
    torch.save(Payload(), tmp_path / "payload.pt")
    with zipfile.ZipFile(path, "a") as archive:
        if planted == "archive":
            archive.write(tmp_path / "payload.pt", "small/data/sample_inputs/other.pt")
        else:
            archive.writestr("small/data/constants/other_config.json", planted)
    with pytest.raises(UserError, match="can run code"):
        open_file(path, torch.device("cpu"))
    assert "the payload ran" not in capfd.readouterr().out
