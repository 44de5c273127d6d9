"""A real browser for tests, and windows of it."""

import shutil
from contextlib import contextmanager

import pytest


@pytest.fixture(scope="module")
def chromium():
    """Chromium, the system's or playwright's; its camera is a drawn one. Skip the test if there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    own = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as manager:
        try:
            browser = manager.chromium.launch(executable_path=own, args=arguments)
        except playwright.Error as error:
            pytest.skip(f"there is no Chromium: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


def require_harmless(window):
    """Fail if something went wrong, a name ran as a script, or anything but the page's own address was asked for."""
    assert window.complaints == []
    assert window.evaluate("window.hacked") is None
    own = ("data:", window.address, f"blob:{window.address}")
    assert [url for url in window.requests if not url.startswith(own)] == []


@contextmanager
def open_window(browser, address):
    """Yield a page in a window as narrow as a phone's; what goes wrong, and what it asks for, collects beside it."""
    opened = browser.new_page(viewport={"width": 375, "height": 800})
    opened.address, opened.requests, opened.complaints = address, [], []
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.on("console", lambda message: opened.complaints.append(message.text))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("dialog", lambda dialog: opened.complaints.append(dialog.message))
    opened.goto(address)
    opened.wait_for_selector("[data-ready=yes]")
    yield opened
    opened.close()
