"""The page itself: read with another parser than wrote it, figures by where they are drawn, and hostile names."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from profiles.report import markdown
from profiles.report.gather import gather
from profiles.report.html import render
from profiles.report.labels import place_labels
from profiles.results import Device, Profile
from profiles.store import store
from tests.profiles.report_bundles import HOST, SIX, artifact, check, measured, write_bundle, write_full, write_verified

ROOT = Path(__file__).parents[2]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&$\\frac{|`@all #1\u202e\x00"


class Page(HTMLParser):
    """Elements of a page with their attributes and the text directly inside, in order."""

    VOID = ("meta", "link", "br", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self._open = []
        self.feed(text)
        assert not self._open, "elements are left open"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, **dict(attributes), "text": "", "within": [one["tag"] for one in self._open]}
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append({"tag": tag, **dict(attributes), "text": "", "within": [one["tag"] for one in self._open]})

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return write_full(tmp_path_factory.mktemp("report") / "full")


@pytest.fixture(scope="module")
def text(full):
    return render(gather([full], operations=False))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_it_is_whole_in_itself(page, text):
    """No address is loaded, no script but the one whose hash the policy names, no handler in an attribute."""
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    (script,) = page.all("script")
    digest = base64.b64encode(hashlib.sha256(script["text"].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    for element in page.elements:
        assert not any(name.startswith("on") for name in element)
        assert "src" not in element
        if "href" in element and element["tag"] != "a":
            assert element["href"].startswith(("#", "data:,"))
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_references_lead_somewhere(page):
    ids = [element["id"] for element in page.elements if "id" in element]
    assert len(ids) == len(set(ids))
    wanted = set()
    for element in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            wanted |= set(element.get(name, "").split())
        if element.get("href", "").startswith("#"):
            wanted.add(element["href"][1:])
        wanted |= set(re.findall(r"url\(#([^)]+)\)", " ".join(str(value) for value in element.values())))
    assert wanted <= set(ids)


def test_no_colour_of_a_plot_is_fixed(page):
    """Every fill and stroke is a variable of the theme, or none."""
    for element in page.elements:
        if "svg" in element["within"]:
            for name, value in re.findall(r"(fill|stroke): ([^;]+)", element.get("style") or ""):
                assert value == "none" or value.startswith(("var(--", "url(#")), (name, value)


def test_every_plot_has_a_title_and_says_what_is_in_it(page):
    plots = [element for element in page.all("svg") if element.get("class") == "plot"]
    of_two_towers = {"trade-offs": 2 + 2, "latency": 2 + 1 + 2, "size": 2, "error": 2, "operations": 2 + 1 + 2, "causes": 2}
    assert len(plots) == sum(of_two_towers.values())
    for plot in plots:
        title, description = plot["aria-labelledby"].split()
        for identifier in (title, description):
            (element,) = [element for element in page.elements if element.get("id") == identifier]
            assert element["text"].strip()


def test_estimates_and_what_else_is_no_plain_speed_say_so(page):
    tables = {table["id"]: table["text"] for table in page.all("table")}
    assert "estimated" in tables["table-overview"]
    assert "estimated p50" in tables["table-estimated"]
    assert tables["table-measured"].count("reference, not a speed") == 2
    assert "load average 3.1 on 2 processors" in tables["table-measured"]
    assert "emulated" in tables["table-overview"]
    drawn = {plot["aria-labelledby"].split("-title")[0]: plot["text"] for plot in page.all("svg") if "role" in plot}
    of_phone = [text for text in drawn.values() if "Example Phone 14" in text]
    assert len(of_phone) == 6  # of two towers: latency, by operation, by cause; one artifact leaves no choice
    assert all(text.lower().count("estimated") >= 2 for text in of_phone)
    assert drawn["latency-0-0"].count("reference, not a speed") == 2  # drawn and spoken
    assert drawn["latency-0-1"].count("(noisy)") == 3  # and on its tip
    assert "emulated" in drawn["latency-1-0"]


def _widths(page):
    """Of the bars that tell bytes, in px, in the order of their rows; by panel."""
    found = {}
    for index, element in enumerate(page.elements):
        if element["tag"] == "title" and "bytes" in element["text"]:
            path = next(one for one in page.elements[index:] if one["tag"] == "path")
            xs = [float(x) for x in re.findall(r"[ML] (-?[\d.]+) ", path["d"])]
            found.setdefault(element["text"].split()[1], []).append(max(xs) - min(xs))
    return found


def test_bars_are_as_long_as_their_artifacts_are_large(page):
    widths = _widths(page)
    for tower in ("image", "text"):
        sizes = sorted(entry.size_bytes for entry in SIX if entry.tower == tower)
        shares = [width / widths[tower][-1] for width in widths[tower]]
        assert shares == pytest.approx([size / sizes[-1] for size in sizes], abs=0.002)


def test_sorting_keys_are_the_numbers_shown(page):
    cells = [cell for cell in page.all("td") if cell.get("class") == "number" and "data-order" in cell]
    assert len(cells) > 100
    for cell in cells:
        shown = float(cell["text"].split()[0].replace(",", ""))
        assert shown == pytest.approx(float(cell["data-order"]), rel=6e-3, abs=1e-7)


@pytest.mark.slow
def test_the_same_bundles_give_the_same_bytes(full, text):
    code = (
        "import sys; from pathlib import Path\n"
        "from profiles.report.gather import gather; from profiles.report.html import render\n"
        f"sys.stdout.buffer.write(render(gather([Path({str(full)!r})], operations=False)).encode())"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT, env={"PYTHONHASHSEED": seed, "PATH": ""}
        )
        assert run.stdout == text.encode()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A bundle in which everything that has a name has a hostile one."""
    folder = tmp_path_factory.mktemp("hostile") / "b"
    licence = {"name": HOSTILE, "url": "javascript:alert(1)", "commercial_use": False}
    weights = {"source": "file:x" + HOSTILE, "sha256": "0" * 64, "licence": licence}
    left = ({"op": HOSTILE, "count": 1, "why": HOSTILE},)
    entries = [
        artifact("image", HOSTILE, HOSTILE, 5, path="x", delegates={HOSTILE: 1}, left=left),
        artifact("image", "executorch", "fp32", 9, left=()),
    ]
    write_bundle(folder, entries, model=HOSTILE, weights=weights, tools={HOSTILE: HOSTILE})
    write_verified(folder, [check(one, 0.999, runtime=HOSTILE) for one in entries], contract=[HOSTILE])
    device = Device(id=HOSTILE, kind="measured", name=HOSTILE, details={HOSTILE: [HOSTILE]})
    rows = tuple(measured(one, 3.0, runtime=HOSTILE, operators_ms={HOSTILE: 1.0}, noisy=(HOSTILE,)) for one in entries)
    store(folder, Profile(device=device, rows=rows, not_run={HOSTILE: HOSTILE}, tools={HOSTILE: HOSTILE}))
    return folder


def test_hostile_names_are_text(hostile):
    page = Page(render(gather([hostile], operations=False)))
    assert len(page.all("script")) == 1
    assert not page.all("img")
    for element in page.elements:
        assert not any(name.startswith("on") for name in element)
        assert "javascript:" not in (element.get("href") or "")
    shown = "".join(element["text"] for element in page.all("main"))
    assert "<script>alert(1)</script>" in shown
    assert not {"\u202e", "\x00"} & set(shown)


def test_hostile_names_end_no_cell_of_markdown(hostile):
    text = markdown.render(gather([hostile], operations=False))
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"@\w", text)
    assert not re.search(r"#\d", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    overview = rows[: 2 + 2]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in overview} == {len(re.findall(r"\|", overview[1]))}


def test_markdown_says_what_failed_and_what_is_estimated(tmp_path, full):
    failed = write_bundle(tmp_path / "failed", SIX[:1])
    write_verified(failed, [check(SIX[0], 0.5, failures=["cosine_min"])])
    text = markdown.render(gather([full, failed], operations=False))
    assert "7 artifacts, 6 verified, **1 FAILED**, 3 devices." in text
    assert "phone-14, ms _estimated_" in text
    assert "**FAILED**" in text
    assert f"- to add to this report: `edgeclip profile {failed}`" in text
    assert "_reference, not a speed_" in text


def test_without_results_the_page_says_what_to_run(tmp_path):
    page = Page(render(gather([write_bundle(tmp_path / "b")], operations=False)))
    (commands,) = page.all("pre")
    assert commands["text"].split("\n")[:2] == [f"edgeclip verify {tmp_path / 'b'}", f"edgeclip profile {tmp_path / 'b'}"]
    said = " ".join(paragraph["text"] for paragraph in page.all("p") if paragraph.get("class") == "empty")
    assert all(words in said for words in ("Nothing to choose from", "No times yet", "Nothing verified yet"))


def test_an_empty_bundle_is_a_page_too(tmp_path):
    page = Page(render(gather([write_bundle(tmp_path / "b", [])], operations=False)))
    assert "0" in page.all("strong")[0]["text"]


@pytest.mark.slow
def test_many_devices_and_kinds_have_colours_and_room(tmp_path):
    entries = [artifact("image", "executorch", f"w{bits}", bits * 1000, backend=f"b{bits}") for bits in range(1, 13)]
    folder = write_bundle(tmp_path / "b", entries)
    spent = {f"op{index}": 1.0 + index for index in range(30)}
    rows = tuple(measured(entry, 5.0, operators_ms=spent) for entry in entries)
    store(folder, Profile(device=HOST, rows=rows))
    write_verified(folder, [check(entry, 0.9 + 0.008 * index) for index, entry in enumerate(entries)])
    page = Page(render(gather([folder], operations=False)))
    legends = [legend["text"].split() for legend in page.all("ul") if legend.get("class") == "legend"]
    assert any(" ".join(names).endswith("23 other kinds") for names in legends)


def test_labels_keep_out_of_each_others_way():
    points = [(100.0, 100.0, 5.0), (108.0, 102.0, 5.0), (104.0, 96.0, 5.0)]
    centres = place_labels(points, ["w8", "w8a8", "fp16"], (0.0, 0.0, 300.0, 200.0))
    boxes = [(x - 15, y - 7, x + 15, y + 7) for x, y in centres]
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
