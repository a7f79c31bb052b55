"""Reports in a real browser: no errors, and everything that can be moved, clicked or sorted works.

Needs Chromium with its driver and selenium; ``make browser`` says so if they are missing.
"""

import os
import shutil
import time

import pytest

from memsim.execute import run
from memsim.load import find_scenario, load_scenario
from memsim.report import report

REQUIRED = os.environ.get("MEMSIM_BROWSER") == "required"
LESS = () if REQUIRED else ("workloads.db.touch.rate=1000/s", "workloads.kernel.rate=1000/s")
"""Among all tests, with less load: the scenario itself takes a minute."""
MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
if MISSING and not REQUIRED:
    pytest.skip(f"not installed: {', '.join(MISSING)}", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver", reason="make browser installs selenium")
SIDES = ("none", "mobility", "ideal") if REQUIRED else ("none", "mobility")
ID, CSS, TAG = "id", "css selector", "tag name"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--window-size=1500,1100"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        service=webdriver.ChromeService(shutil.which("chromedriver")), options=options
    )
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The reports of the shipped scenarios, with few seeds."""
    folder = tmp_path_factory.mktemp("pages")
    unplug = load_scenario(find_scenario("unplug-node1"), seeds="1..2", sets=LESS)
    sweep = load_scenario(find_scenario("sweep-movable"), seeds="1..2", policies=SIDES)
    few = {"policies.*.cmdline": ("movablecore=0", "movablecore=1024M", "movablecore=1792M")}
    found = {}
    for name, scenario in (("unplug", unplug), ("sweep", sweep.with_axes(few))):
        found[name] = folder / f"{name}.html"
        found[name].write_text(report([run(scenario, out=folder / "results")]), encoding="utf-8")
    return found


def opened(browser, page):
    begin = time.perf_counter()
    browser.get(page.as_uri())
    took = time.perf_counter() - begin
    print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB, opened in {took:.2f} s")
    assert browser.get_log("browser") == []


def drawn(browser, number=0):
    """What stands on a map's canvas."""
    return browser.execute_script(
        "return document.querySelectorAll('canvas')[arguments[0]].toDataURL()", number
    )


def move_slider(browser, value):
    browser.execute_script(
        "const s = document.getElementById('slider'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))",
        value,
    )


def text(browser, name):
    return browser.find_element(ID, name).text


def test_the_map_moves_with_the_slider_and_the_keys(browser, pages):
    opened(browser, pages["unplug"])
    assert browser.execute_script("return document.querySelectorAll('canvas').length") == 3
    last = drawn(browser)
    move_slider(browser, 0)
    assert text(browser, "now") == "0 ms" and drawn(browser) != last
    slider = browser.find_element(ID, "slider")
    slider.send_keys(webdriver.Keys.ARROW_RIGHT * 3)
    assert text(browser, "now") == "840 ms"
    slider.send_keys(webdriver.Keys.END)
    assert text(browser, "now") == "14 s" and drawn(browser) == last
    marks = browser.find_elements(CSS, "#marks button")
    assert [mark.get_attribute("aria-label") for mark in marks] == [
        "6 s: move (migrate_pages) of db", "8 s: unplug (offline)",
    ]  # fmt: skip
    marks[1].click()
    assert text(browser, "now") == "8.12 s"
    assert "unplug (offline) at 8 s" in text(browser, "happened")
    assert browser.get_log("browser") == []


def test_a_click_or_a_key_shows_a_block_and_its_history(browser, pages):
    opened(browser, pages["unplug"])
    canvas = browser.find_element(TAG, "canvas")
    where = browser.execute_script(
        "const c = arguments[0]; const b = c.getBoundingClientRect();"
        "return [34 + 6 * 10 + 3 - b.width / 2, 6 * 30 + 3 - b.height / 2]",
        canvas,
    )
    webdriver.ActionChains(browser).move_to_element_with_offset(
        canvas, *map(int, where)
    ).click().perform()
    said = text(browser, "block")
    assert said.startswith("Memory block 34 of node 1: pfn ")
    assert "History: 0 ms Movable, free" in said and "EBUSY: " in said
    assert "memsim explain unplug-node1 --block 34" in said
    canvas.send_keys(webdriver.Keys.ARROW_UP)
    assert text(browser, "block").startswith("Memory block 33 of node 1")
    assert browser.get_log("browser") == []


def test_policies_stand_side_by_side_and_as_a_difference(browser, pages):
    opened(browser, pages["unplug"])
    browser.find_element(ID, "compare").click()
    heads = [head.text for head in browser.find_elements(CSS, ".panel h3")]
    assert heads == ["none", "mobility", "zone-1792", "mobility beside none"]
    before = drawn(browser, 3)
    browser.find_element(CSS, "#other option[value='2']").click()
    assert drawn(browser, 3) != before
    assert browser.find_element(ID, "difference-legend").is_displayed()
    boxes = browser.find_elements(CSS, "#shown input")
    boxes[1].click()
    heads = [head.text for head in browser.find_elements(CSS, ".panel h3")]
    assert heads == ["none", "zone-1792", "zone-1792 beside none"]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("name", ["unplug", "sweep"])
def test_tables_sort(browser, pages, name):
    opened(browser, pages[name])
    table = browser.find_element(CSS, "#answer table")
    heads = table.find_elements(CSS, "thead button")
    column = [head.text for head in heads].index("relative")

    def values():
        cells = table.find_elements(CSS, f"tbody tr > :nth-child({column + 1})")
        found = [cell.text.removesuffix(" %").replace(",", "") for cell in cells]
        return [int(value) for value in found if value]

    heads[column].click()
    assert values() == sorted(values()) and len(values()) >= 3
    heads[column].send_keys(webdriver.Keys.ENTER)
    assert values() == sorted(values(), reverse=True)
    assert browser.get_log("browser") == []


def test_a_sweep_has_its_figure_and_says_that_there_is_no_map(browser, pages):
    opened(browser, pages["sweep"])
    assert browser.find_element(CSS, "#figure-sweep svg").is_displayed()
    assert "No map was kept" in text(browser, "map")


def test_without_scripts_the_pictures_and_tables_are_there(browser, pages):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["unplug"].as_uri())
        assert len(browser.find_elements(CSS, "noscript svg.still")) == 3
        assert browser.find_element(CSS, "#answer table").is_displayed()
        assert not browser.find_element(ID, "maps").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_page_is_dark_where_the_reader_wants_that(browser, pages):
    opened(browser, pages["unplug"])
    light = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    before = drawn(browser)
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        now = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert light == "rgb(255, 255, 255)" and now == "rgb(20, 24, 31)"
        assert drawn(browser) != before
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
