"""The page in a real browser: nothing is fetched, nothing complains, and it can be used without a mouse.

Chromium is not a Python package: it is looked for on PATH and in $CHROMIUM, and where it is not, these tests are skipped.
On Debian `apt-get install chromium` brings it.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from profiles.report.gather import gather
from profiles.report.html import render
from tests.profiles.report_bundles import write_full

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTHS = (1200, 400)
SCHEMES = ("light", "dark")


def _chromium():
    given = os.environ.get("CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    path = _chromium()
    if path is None:
        pytest.skip("no Chromium on PATH or in $CHROMIUM: apt-get install chromium")
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium's does not exist for root
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=sandbox)
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "report.html"
    page.write_text(render(gather([write_full(folder / "full")], operations=False)), "utf-8")
    return page


@pytest.fixture
def opened(browser, file):
    """Opens the page; whatever it fetches or says on the console is an error when the test ends."""
    pages, heard = [], []

    def open_page(width=1200, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url) if request.url != file.as_uri() else None)
        page.goto(file.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()
    assert heard == []


def _pixels(page, full_page=False):
    return np.asarray(Image.open(io.BytesIO(page.screenshot(full_page=full_page))).convert("L"), dtype=np.float64)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_fits_the_window_and_follows_the_system(opened, width, scheme, tmp_path):
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    pixels = _pixels(page, full_page=True)
    assert pixels.shape[1] == width
    assert (np.median(pixels) < 60) == (scheme == "dark")
    assert pixels.std() > 10  # something is drawn on it
    if kept := os.environ.get("EDGECLIP_SCREENSHOTS"):
        page.screenshot(path=Path(kept) / f"report-{scheme}-{width}.png", full_page=True)


TEXTS = """() => Array.from(document.querySelectorAll("svg.plot"), (plot) => {
  const frame = plot.getBoundingClientRect();
  return Array.from(plot.querySelectorAll("text"), (text) => {
    const box = text.getBoundingClientRect();
    return [text.textContent, box.left - frame.left, frame.right - box.right, box.top - frame.top, frame.bottom - box.bottom];
  });
}).flat()"""


@pytest.mark.parametrize("width", WIDTHS)
def test_no_label_is_cut_off(opened, width):
    for text, *room in opened(width).evaluate(TEXTS):
        assert min(room) > -1, text


CONTRAST = """() => {
  const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const channels = (c) => c.match(/[\\d.]+/g).map(Number).map(channel);
  const light = (c) => { const [r, g, b] = channels(c); return .2126 * r + .7152 * g + .0722 * b; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const probe = document.createElement("span");
  document.body.append(probe);
  const of = (name) => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
  const card = of("--card");
  const found = {};
  for (const name of ["--ink", "--muted", "--accent", "--good", "--bad"]) found[name] = ratio(of(name), card);
  for (let n = 0; n < 8; n++) found[`--series-${n}`] = ratio(of(`--series-${n}`), card);
  found["--flag"] = ratio(of("--flag"), of("--flag-back"));
  probe.remove();
  return found;
}"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_colours_are_told_from_the_page(opened, scheme):
    """WCAG 2.2: 4.5 to 1 for text (1.4.3), 3 to 1 for what is drawn (1.4.11)."""
    for name, ratio in opened(scheme=scheme).evaluate(CONTRAST).items():
        assert ratio >= (3.0 if "series" in name else 4.5), name


def _column(page, title):
    """The cells of a column of the overview, and what its header says of the order."""
    return page.evaluate(
        """(title) => {
          const table = document.getElementById("table-overview");
          const headers = Array.from(table.tHead.rows[0].cells);
          const at = headers.findIndex((header) => header.textContent.trim().startsWith(title));
          return [Array.from(table.tBodies[0].rows, (row) => row.cells[at].textContent.trim()), headers[at].ariaSort];
        }""",
        title,
    )


def _focused(page):
    return page.evaluate("document.activeElement.textContent.trim()")


def test_tables_sort_by_keyboard(opened):
    page = opened()
    before, order = _column(page, "MB")
    assert order == "none"
    for _ in range(40):
        page.keyboard.press("Tab")
        if _focused(page) == "MB":
            break
    assert _focused(page) == "MB"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    rising, order = _column(page, "MB")
    assert order == "ascending"
    assert rising == sorted(before, key=float) != before
    page.keyboard.press("Space")
    falling, order = _column(page, "MB")
    assert (falling, order) == (sorted(before, key=float, reverse=True), "descending")
    assert _focused(page) == "MB"
    assert page.inner_text("#status") == "Sorted by MB, descending"


def test_what_has_no_value_comes_last_either_way(opened):
    page = opened()
    button = page.get_by_role("button", name="phone-14, ms")
    for _ in range(2):
        button.click()
        cells, _ = _column(page, "phone-14")
        assert cells[2:] == ["–"] * 4
        assert all(cell.startswith("1.") for cell in cells[:2])


def test_the_first_tab_skips_to_the_report(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert _focused(page) == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_button_turns_the_theme_over(opened, scheme):
    page = opened(scheme=scheme)
    button = page.get_by_role("button", name="Dark")
    before = np.median(_pixels(page))
    assert button.get_attribute("aria-pressed") == str(scheme == "dark").lower()
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == str(scheme == "light").lower()
    assert (np.median(_pixels(page)) > before) == (scheme == "dark")


def test_details_open_by_keyboard(opened):
    page = opened()
    summary = page.locator("#error details summary")
    assert not page.locator("#table-checks").is_visible()
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#table-checks").is_visible()


def test_on_paper_nothing_is_hidden(opened):
    page = opened()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0
