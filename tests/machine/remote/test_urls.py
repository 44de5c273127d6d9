"""URLs of object storage, and what of them is never shown."""

import pytest

from segdla.errors import UserError
from segdla.machine.remote.urls import full_url, is_url, public_url


@pytest.mark.parametrize(
    "place", ["s3://b/k", "gs://b", "https://h/x.zip", "hf://datasets/o/n/x", "memory://a", "file:///x"]
)
def test_urls(place):
    assert is_url(place)


@pytest.mark.parametrize("place", ["hf://owner/name", "photos", "/s3:/b", "s3:/b/k", "ftp://h/x", "S3/x", "c:\\x"])
def test_other_places(place):
    assert not is_url(place)


def test_a_web_address_loses_user_and_signature_and_a_request_gets_them_back():
    signed = "https://me:pw@host/a b.png?X-Amz-Signature=abc#x"
    assert public_url(signed) == "https://host/a b.png"
    assert full_url("https://host/a b.png") == signed


def test_characters_of_keys_are_kept():
    assert public_url("s3://b/a?b#c@d:e.png") == "s3://b/a?b#c@d:e.png"
    assert public_url("abfs://c@account.host/k") == "abfs://c@account.host/k"


def test_credentials_in_a_bucket_url_are_refused_without_being_shown():
    with pytest.raises(UserError, match="s3://bucket/k") as caught:
        public_url("s3://AKIA1:topsecret@bucket/k")
    assert "topsecret" not in str(caught.value) and "AKIA1" not in str(caught.value)
