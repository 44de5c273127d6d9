"""Files of the hub, by the real library, from a stand-in of the hub on this machine."""

import re
import socket
import time

import pytest
from hub_server import serving

from segdla.errors import UserError
from segdla.machine.hub_file import AbsentError, cached_file, hub_file, hub_size, split_address

pytest.importorskip("huggingface_hub", reason='the hub takes an extra: pip install "segdla[hub]"')

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    with serving(monkeypatch, tmp_path / "cache") as hub:
        hub.files["me/net/model.safetensors"] = CONTENT
        yield hub


def test_a_file_is_downloaded_once(hub):
    assert hub_size("me/net", "model.safetensors") == len(CONTENT)
    assert cached_file("me/net", "model.safetensors") is None
    path = hub_file("me/net", "model.safetensors")
    assert path.read_bytes() == CONTENT
    assert hub_file("me/net", "model.safetensors") == path == cached_file("me/net", "model.safetensors")
    assert hub.asked.count("GET") == 1


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub):
    hub.breaks = 2
    assert hub_file("me/net", "model.safetensors").read_bytes() == CONTENT
    gets = [asked for asked in hub.asked if asked.startswith("GET")]
    assert gets == ["GET", f"GET {len(CONTENT) // 2}", f"GET {len(CONTENT) * 3 // 4}"]


def test_a_download_that_never_ends_leaves_nothing(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.http_get", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match=r"cannot get hf://me/net \(division by zero\)"):
        hub_file("me/net", "model.safetensors")
    assert cached_file("me/net", "model.safetensors") is None
    assert [path for path in (tmp_path / "cache").rglob("blobs/*") if path.stat().st_size] == []


def test_other_content_than_announced_is_refused_and_removed(hub):
    hub.lies = True
    with pytest.raises(UserError, match=r"hf://me/net: model.safetensors is damaged, its SHA-256 is not the hub's"):
        hub_file("me/net", "model.safetensors")
    hub.lies = False
    assert hub_file("me/net", "model.safetensors").read_bytes() == CONTENT


def test_a_file_that_was_damaged_in_the_cache_is_refused_and_removed(hub):
    path = hub_file("me/net", "model.safetensors")
    path.resolve().write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(UserError, match="is damaged"):
        cached_file("me/net", "model.safetensors")
    assert cached_file("me/net", "model.safetensors") is None


def test_what_the_hub_does_not_have(hub):
    with pytest.raises(AbsentError, match=r"hf://me/net has no other\.bin: give another name"):
        hub_file("me/net", "other.bin")
    with pytest.raises(AbsentError):
        hub_size("me/net", "other.bin")
    for ask in (hub_file, hub_size):
        with pytest.raises(UserError, match=r"cannot get hf://me/none .*check the name, and for a private one log in"):
            ask("me/none", "model.safetensors")


@pytest.mark.parametrize("name", ["a--b", "..", "a..b", "-a", "a-", "a.git", "a" * 97])
def test_names_that_the_library_refuses_are_answered(name):
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    with pytest.raises(HFValidationError):
        validate_repo_id(f"me/{name}")
    with pytest.raises(UserError, match=r"is not a name on the Hugging Face Hub; write hf://OWNER/NAME"):
        split_address(f"hf://me/{name}@main")


@pytest.mark.parametrize("name", ["a", "a-b.c_d", "a.github", "a" * 96])
def test_names_that_the_library_takes_are_taken(name):
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(f"me/{name}")
    assert split_address(f"hf://me/{name}@main") == (f"me/{name}", "main")


def test_a_hub_that_is_silent_is_waited_for_a_few_seconds(hub, monkeypatch):
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never says a word
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr("segdla.machine.hub_file._SECONDS", 0.3)
        begun = time.monotonic()
        assert hub_size("me/net", "model.safetensors") is None
        message = "hf://me/net is not on this machine yet and the Hugging Face Hub can't be reached; find it"
        with pytest.raises(UserError, match=re.escape(message)):
            hub_file("me/net", "model.safetensors", offline="find it")
        assert time.monotonic() - begun < 9  # the library waits ten, each time
