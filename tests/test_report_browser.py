"""The page in a real browser: no errors, no requests, sorting by mouse and keyboard, any size."""

import re
import shutil
import time
from pathlib import Path

import pytest
from small_run import FAMILIES, write, write_labels

from ad_jax import cli
from ad_jax.base.stats import Estimate
from ad_jax.report.page import Column, Document, Section, Table, written
from ad_jax.report.page.html import FIRST
from ad_jax.selection import search

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        own = Path(engine.chromium.executable_path)
        if CHROMIUM is None and not own.exists():
            pytest.skip("needs Chromium: apt-get install chromium")
        one = engine.chromium.launch(executable_path=CHROMIUM or own, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on four tasks, labels opened."""
    root = tmp_path_factory.mktemp("runs")
    folders = [root / f"task{i}" for i in range(4)]
    for i, folder in enumerate(folders):
        write(folder, seed=i, n=40)
    labels = write_labels(root / "labels.csv", folders)
    options = ["--audit", "--labels", str(labels), "--splits", "4", "--out", str(root)]
    assert cli.main(["report", *map(str, folders), *options]) == 0
    return root / "report.html"


@pytest.fixture
def opened(browser):
    """Opens a file; what the console said and what left the page is collected and must be empty."""
    contexts, said = [], []

    def go(path, viewport=DESKTOP, **options):
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if outside(request) else None)
        page.goto(path.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert said == []


def outside(request):
    return not request.url.startswith(("file:", "data:"))


def column(page, table, number):
    return page.locator(f"{table} tbody tr > :nth-child({number})").all_inner_texts()


def figure(text):
    return float(text.split(" ")[0].replace("−", "-"))


PICKS = "#picks .table >> nth=0"


def test_sorting_by_mouse_and_keyboard(opened, report):
    page = opened(report)
    table = page.locator(PICKS)
    head = table.locator("thead th").nth(2)
    values = lambda: [figure(t) for t in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    as_written = values()
    assert head.get_attribute("aria-sort") is None
    head.locator("button").click()
    assert values() == sorted(as_written) and head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert values() == sorted(as_written)[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Tab")  # to the next head
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    following = table.locator("thead th").nth(3)
    assert following.get_attribute("aria-sort") == "ascending"
    spread = [figure(t) for t in table.locator("tbody td:nth-child(4)").all_inner_texts()]
    assert spread == sorted(spread)
    page.keyboard.press("Space")
    assert following.get_attribute("aria-sort") == "descending"
    foot = table.locator("tfoot th").first
    assert foot.inner_text().startswith("mean over tasks")  # stays below


def document_of(rows, columns):
    table = Table("many", columns, rows)
    return Document("t", ["s"], [Section("many", "Many", [table])], table, "now")


def test_long_tables_are_paged_sorted_and_filtered(opened, tmp_path):
    nothing = float("nan")
    rows = [
        [
            f"row {i}",
            nothing if i % 7 == 0 else (i * 37) % 1000 / 1000,
            i,
            Estimate(i / 10, 0.0, 1.0),
        ]
        for i in range(1000)
    ]
    columns = [Column("name"), Column("value"), Column("whole"), Column("both", "", 2)]
    path = tmp_path / "page.html"
    path.write_bytes(written(document_of(rows, columns), "html"))
    page = opened(path)
    cells = lambda: page.locator("#many tbody tr").all_inner_texts()
    before = cells()
    assert len(before) == FIRST
    page.get_by_role("button", name="Next").click()
    assert "row 50" in cells()[0]
    page.get_by_role("button", name="Previous").click()
    assert cells() == before  # the script writes what the page was made with
    head = lambda n: page.locator("#many thead button").nth(n)
    for _ in (1, 2):
        head(1).click()
        while page.get_by_role("button", name="Next").is_enabled():
            page.get_by_role("button", name="Next").click()
        assert all("–" in row for row in cells()[-10:])  # nothing stays last, either way
    page.locator("#many input[type=search]").fill("row 99")
    playwright.expect(page.locator("#many tbody tr")).to_have_count(11)
    assert page.locator("#many [role=status]").inner_text() == "1–11 of 11 rows"
    head(0).press("Enter")
    assert [c.split("\t")[0] for c in cells()[:3]] == ["row 99", "row 990", "row 991"]


def test_words_sort_as_readers_expect(opened, tmp_path):
    rows = [[name, None] for name in ("b 10", "b 9", "a")]
    path = tmp_path / "page.html"
    path.write_bytes(written(document_of(rows, [Column("name"), Column("v")]), "html"))
    page = opened(path)
    page.locator("#many thead button").first.click()
    assert column(page, "#many", 1) == ["a", "b 9", "b 10"]


def test_parallel_coordinates(opened, report):
    page = opened(report)
    page.locator("#settings details summary").first.click()
    slider = page.locator("#settings input[type=range]").first
    box = page.locator("#settings .parallel").first
    count = lambda: box.locator(".line.top").count()
    assert count() == 5 == int(slider.input_value())
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert count() == 6 and box.locator("output").inner_text() == "6"
    row = page.locator("#settings .table tbody tr").nth(2)
    row.focus()
    assert box.locator(".line.now").get_attribute("data-line") == "2"
    page.locator("#settings .table tbody tr").nth(4).hover()
    assert box.locator(".line.now").get_attribute("data-line") == "4"
    best = box.locator(".line.top").evaluate_all("all => all.map(one => +one.dataset.line)")
    assert set(best) == set(range(6))  # rows are in the order of their losses


def test_light_dark_and_the_readers_choice(opened, report):
    background = lambda page: page.evaluate("getComputedStyle(document.body).backgroundColor")
    light, dark = (opened(report, color_scheme=name) for name in ("light", "dark"))
    assert background(light) == "rgb(255, 255, 255)" and background(dark) == "rgb(20, 24, 28)"
    for _ in range(2):  # as the system, light, dark
        light.locator("#theme").press("Enter")
    assert background(light) == background(dark)
    ink = "getComputedStyle(document.querySelector('#against svg text')).fill"
    assert light.evaluate(ink) == dark.evaluate(ink) != "rgb(0, 0, 0)"


def test_readable_on_a_phone(opened, report):
    page = opened(report, PHONE, has_touch=True)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    smallest = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll('.small svg text')].map(one =>
            parseFloat(getComputedStyle(one).fontSize)
            * Math.hypot(one.getScreenCTM().a, one.getScreenCTM().b)))"""
    )
    assert smallest > 8


def test_keyboard_reaches_everything(opened, report):
    page = opened(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#summary")
    unreachable = page.evaluate(
        """() => [...document.querySelectorAll('.scroll, .wide .drawing, button, input, summary')]
            .filter(one => one.tabIndex < 0).length"""
    )
    assert unreachable == 0
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('svg:not([aria-hidden]), [role=group], .scroll')]
            .filter(one => !one.getAttribute('aria-label')).length"""
    )
    assert unnamed == 0


def test_pages_work_without_scripts(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#picks tbody tr").count() > 4
    assert page.locator("#summary p").count() > 2
    assert not page.locator("#theme").is_visible()
    context.close()


@pytest.mark.whole
def test_100_000_members_open_at_once(opened, tmp_path):
    """Under 20 MB, and under 3 s from the file to a drawn page."""
    settings = search.draw((16, 16, 1), 33_400, FAMILIES, 0)
    names = ("tail_and_auroc", "train_loss")
    write(tmp_path / "run", settings=settings, n=20, held_out=10, names=names)
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    path = tmp_path / "run" / "report.html"
    assert path.stat().st_size < 20e6
    assert len(re.findall(r'data-line="\d', path.read_text())) == 2000
    start = time.perf_counter()
    page = opened(path)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert time.perf_counter() - start < 3.0
    assert "of 100209 rows" in page.locator("#members [role=status]").inner_text()
