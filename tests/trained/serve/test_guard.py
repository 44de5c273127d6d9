"""Pages of other sites may not use the service, by whatever name they call it."""

import pytest
from serving import serving


@pytest.fixture(scope="module")
def named(segmenter):
    with serving(segmenter, names=["Box.Local"]) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["localhost:1", "127.0.0.1", "192.168.0.7:8000", "[::1]:8000", "box.local:8000", "BOX.local"]
)
def test_hosts_that_may_be_asked(named, host):
    assert named.get("/", Host=host)[0] == named.get("/api/network", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.local", "box.local.evil:8000", "", "[x", "a@b@c", "127.0.0.1.nip"],
)
def test_hosts_of_others(named, host):
    """An attacker's name may lead here (DNS rebinding), and then its pages would be of the same origin."""
    for path in ("/", "/api/network", "/openapi.json"):
        assert named.get(path, Host=host)[0] == 403
    status, _, answer = named.post("/api/predict", b"x", Host=host)
    assert status == 403 and "--name" in answer["detail"]


def test_a_page_of_another_origin(named):
    for origin in (
        "http://evil.example",
        "null",
        f"http://{named.host}0",
        "http://127.0.0.1",
        f"http://{named.host}@evil",
        "http://[x",
    ):
        status, _, answer = named.post("/api/predict", b"x", Origin=origin)
        assert status == 403 and "may not use" in answer["detail"], origin
    for origin in (f"http://{named.host}", f"https://{named.host}"):  # the second behind a proxy
        assert named.post("/api/predict", b"x", Origin=origin)[0] == 400


def test_every_answer_forbids_scripts_of_others(named):
    for path in ("/", "/page.js", "/api/network", "/nothing"):
        headers = named.get(path)[1]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_nothing_but_the_page_s_files_is_given_out(named):
    for path in ("/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "//etc/passwd", "/static/index.html"):
        assert named.get(path)[0] == 404
