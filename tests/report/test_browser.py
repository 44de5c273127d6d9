"""The page in a real browser, if there is one: playwright, and Chromium of the system or of playwright."""

import pytest
from browser import open_window, require_harmless


@pytest.fixture(scope="module")
def opened(chromium, page):
    with open_window(chromium, page.as_uri()) as shown:
        yield shown


def test_it_opens_and_asks_for_nothing(opened, page):
    require_harmless(opened)
    assert [url for url in opened.requests if not url.startswith("data:")] == [page.as_uri()]
    assert opened.locator("#cards .card").count() == 5


def test_it_is_no_wider_than_a_phone(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_press_on_a_heading_sorts(opened):
    heading = opened.locator("#scores thead th").nth(1)
    values = "[...document.querySelectorAll('#scores tbody tr')].map(row => Number(row.children[1].dataset.v))"
    for order in ("descending", "ascending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        assert opened.evaluate(values) == sorted(opened.evaluate(values), reverse=order == "descending")


def test_a_press_on_a_number_names_the_images_behind_it(opened):
    cell = opened.locator(".matrix button").first
    truth, predicted = cell.get_attribute("data-cell").split(",")
    cell.click()
    text = opened.locator("#behind").inner_text()
    names = opened.evaluate("data.classes")
    assert names[int(truth)] in text and names[int(predicted)] in text and "<b>bold</b>" in text
    assert opened.locator("#behind script, #behind b").count() == 0


def test_layers_and_slider(opened):
    over = opened.locator("#cards .card .over.truth").first
    assert not over.is_visible()
    opened.locator("input[value=truth]").check(force=True)
    assert over.is_visible() and not opened.locator("#cards .card .over.error").first.is_visible()
    opened.locator("#wipe").fill("40")
    assert over.evaluate("image => getComputedStyle(image).clipPath").endswith("40%)")


def test_uncertainty_has_a_legend(opened):
    scale = opened.locator(".scale")
    assert not scale.is_visible()
    opened.locator("input[value=uncertainty]").check(force=True)
    assert scale.is_visible() and opened.locator("#cards .card .over.uncertainty").first.is_visible()
    assert scale.text_content().split() == ["sure,", "0", "%", "100", "%,", "unsure"]
    assert "rgb(0, 0, 4)" in scale.locator("i").evaluate("bar => getComputedStyle(bar).backgroundImage")


def test_a_class_s_worst_images(opened):
    opened.locator("#which").select_option(index=2)
    assert 1 <= opened.locator("#cards .card").count() <= 4
    opened.locator("#which").select_option(index=0)


def test_a_doubtful_region_opens_its_image(opened):
    opened.locator("#labels .crops button").first.click()
    first = opened.locator("#labels .doubtful > li > button").first.inner_text()
    assert opened.locator("#viewer b").inner_text() == first
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#viewer b").inner_text() != first
    opened.keyboard.press("Escape")


def test_a_picture_opens_and_the_next_one_follows(opened):
    opened.locator("#cards button").first.click()
    first = opened.locator("#viewer b").inner_text()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#viewer b").inner_text() != first
    for key, layer in ("5", "uncertainty"), ("3", "prediction"):
        opened.keyboard.press(key)
        assert opened.evaluate("document.documentElement.dataset.layer") == layer
    opened.keyboard.press("Escape")
    assert not opened.locator("#viewer").is_visible()
    require_harmless(opened)
