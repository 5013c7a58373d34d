"""The page in a real browser: headless Chromium, as Debian packages it.

`JAXMRF_SCREENSHOTS=docs/images python -m pytest -n0 -m slow tests/test_web_browser.py`
makes the pictures of docs/web.md again.
"""

import contextlib
import io
import os
import re
import shutil
import time
import zipfile
from importlib import resources
from pathlib import Path

import pytest
from PIL import Image

from tests.common import SHALLOW
from tests.serving import LONG, PATIENCE, command_line, write_pictures

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip(
        "NOT TESTED IN A BROWSER: install Debian's chromium and chromium-driver",
        allow_module_level=True,
    )

from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import (  # noqa: E402
    JavascriptException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

DESKTOP, PHONE = (1280, 900), (390, 844)
# Nothing is matched: for larger pictures.
QUICKEST = {name: value for name, value in SHALLOW.items() if name != "layers"} | {
    "style_loss": "gram",
    "gram_layers": "relu1_1",
}
SCREENSHOTS = os.environ.get("JAXMRF_SCREENSHOTS")


def start_browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(DRIVER))


def leave(driver):
    """Leaves the page for a blank one, in the same process, which forgets what was selected."""
    driver.execute_script("sessionStorage.clear(); location = 'about:blank'")


class Page:
    """One browser window on the page."""

    def __init__(self, driver, server, size, downloads, dark=False):
        self.driver = driver
        self.command("Storage.clearDataForOrigin", origin=server.address, storageTypes="all")
        self.resize(size)
        self.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        self.appear(dark)
        self.command("Emulation.setFocusEmulationEnabled", enabled=True)
        self.enter(server)

    def enter(self, server):
        self.driver.get(server.entrance)
        self.until(lambda: self.all("#well-style .examples button"))
        # Layout shifts from here on; those that follow input by 500 ms do not count. And what is
        # varied is small: it is compiled as soon as that is open.
        self.script(
            "document.getElementById('vary-size').value = '64';"
            "window.shifts = []; new PerformanceObserver((list) => { for (const entry of "
            "list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value); })"
            ".observe({type: 'layout-shift', buffered: true});"
        )

    def appear(self, dark, *, still=False):
        wanted = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.command("Emulation.setEmulatedMedia", features=features)

    def resize(self, size):
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=False,
        )

    def command(self, name, **values):
        return self.driver.execute_cdp_cmd(name, values)

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, name):
        return self.script("return document.getElementById(arguments[0]).textContent", name)

    def state(self):
        return self.text("state")

    def progress(self):
        return self.script("return document.getElementById('progress').value")

    def until(self, condition, seconds=PATIENCE):
        """Waits for a condition; a page that is just being loaded meets none."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(JavascriptException, StaleElementReferenceException):
                if found := condition():
                    return found
            assert time.monotonic() < deadline, (self.state(), self.text("problem"))
            time.sleep(0.05)

    def choose(self, paths):
        for kind, path in zip(("content", "style"), paths, strict=True):
            self.one(f"#file-{kind}").send_keys(str(path))
            self.until(lambda kind=kind, path=path: path.name in self.text(f"note-{kind}"), 30)

    def set(self, **values):
        for name, value in values.items():
            field = self.one(f"#control-{name}")
            if not field.is_displayed():
                self.open_more()
            field.send_keys(Keys.CONTROL + "a" + Keys.NULL, value)

    def open_more(self):
        """Opens what is under "More" with the mouse, wherever it is."""
        summary = self.one("#more summary")
        self.script("arguments[0].scrollIntoView({block: 'center'})", summary)
        summary.click()

    def fill(self, **values):
        """Sets controls at once, as typing would, one after the other."""
        self.script(
            """
            for (const [name, value] of Object.entries(arguments[0])) {
                const field = document.getElementById(`control-${name}`);
                field.value = value;
                for (const kind of ["input", "change"])
                    field.dispatchEvent(new Event(kind, {bubbles: true}));
            }
            """,
            values,
        )

    def take_examples(self, content, *styles):
        """Takes example pictures by number: a photograph, if any, and paintings to blend."""
        if content:
            self.one(f"#well-content .examples button:nth-child({content})").click()
        for number, style in enumerate(styles):
            if number:
                self.one("#add").click()
            self.one(f"#well-style .examples button:nth-child({style})").click()

    def body(self):
        """The run that is shown, as the server tells of it."""
        return self.script(
            "return (await fetch(`/api/runs/${sessionStorage.getItem('selected')}`)).json()"
        )

    def start(self, **values):
        self.fill(**values)
        before = self.run()
        self.one("#start").click()
        self.until(lambda: self.run() != before)

    def run(self):
        """The id of the run that is shown."""
        return self.script("return sessionStorage.getItem('selected')")

    def ends(self):
        ended = ("finished", "stopped", "failed", "canceled")
        return self.until(lambda: (state := self.state()).startswith(ended) and state)

    def sharp(self):
        """Whether the finished picture is shown, decoded."""
        return self.script(
            "const after = document.getElementById('after');"
            "return after.complete && after.src.includes('/result');"
        )

    def split(self):
        return self.script(
            "return document.getElementById('panes').style.getPropertyValue('--split')"
        )

    def press(self, *keys):
        ActionChains(self.driver, 20).send_keys(*keys).perform()

    def complaints(self):
        """What the browser complained of."""
        log = self.driver.get_log("browser")
        # That an input was refused is what some of the tests are about.
        return [entry for entry in log if "status of 422" not in entry["message"]]


@pytest.fixture(scope="module")
def browser():
    driver = start_browser()
    yield driver
    driver.quit()


@pytest.fixture
def browse(browser, server, tmp_path):
    """Opens the page in the browser, a second time in a browser of its own.

    Its form is filled before there are pictures: what is in it then is compiled beforehand.
    """
    pages = []

    def browse(size=DESKTOP, values=SHALLOW, **more):
        driver = start_browser() if pages else browser
        pages.append(Page(driver, server, size, tmp_path / "downloads", **more))
        pages[-1].fill(**values)
        return pages[-1]

    yield browse
    complaints = [page.complaints() for page in pages]
    for page in pages[1:]:
        page.driver.quit()
    leave(browser)  # it would miss pictures that are gone now
    server.clear()
    browser.get_log("browser")
    assert complaints == [[] for _ in pages]


@pytest.fixture
def paths(tmp_path):
    return write_pictures(tmp_path)


def test_upload_watch_compare_and_download_what_the_command_line_makes(browse, paths, tmp_path):
    page = browse()
    page.choose(paths)
    page.start(iterations="30", seed="4")
    seen, pictures = set(), set()
    while not page.state().startswith("finished"):
        seen.add(page.progress())
        pictures.add(page.one("#after").get_attribute("src"))
        time.sleep(0.02)
    assert len(seen) > 3
    assert len({url for url in pictures if url and "/preview" in url}) > 1
    page.until(page.sharp)
    assert page.progress() == 1
    points = page.one("#curve polyline").get_attribute("points").split()
    assert len(points) == 30  # one level: coarser ones have no room for a patch
    command = page.text("command")
    page.one("#download").click()
    downloads = tmp_path / "downloads"
    file = page.until(lambda: next(downloads.glob("*.png"), None))
    assert file.name == "content in the manner of style.png"
    assert file.read_bytes() == command_line(command, tmp_path, here=True)
    assert sum(page.script("return window.shifts")) < 0.01
    ActionChains(page.driver).move_to_element(page.one("#canvas")).click().perform()
    split = page.split()
    assert abs(float(split.rstrip("%")) - 50) < 2
    clip = page.script("return getComputedStyle(document.getElementById('half')).clipPath")
    assert split in clip or f"{100 - float(split.rstrip('%')):g}%" in clip


def test_cancel_keeps_what_is_there_and_screen_readers_hear_milestones(browse, paths):
    page = browse()
    page.choose(paths)
    page.script(
        "window.told = []; new MutationObserver(() => window.told.push("
        "document.getElementById('announcer').textContent)).observe("
        "document.getElementById('announcer'), {childList: true, characterData: true,"
        " subtree: true})"
    )
    page.start(**LONG)
    page.until(lambda: page.progress() > 0.003)
    page.script("document.getElementById('cancel').focus()")
    page.press(Keys.ENTER)
    assert page.ends().startswith("stopped")
    assert page.script("return document.activeElement.id") == "again"  # not lost with its button
    told = page.script("return window.told")
    assert 2 <= len(told) <= 6, told
    assert "stopped" in told[-1]
    page.until(page.sharp)
    values = page.one("#compare").get_attribute("aria-valuetext")
    assert values == "0 % photograph content, 100 % this picture"
    assert page.one("#download").get_attribute("aria-disabled") == "false"
    assert not page.one("#cancel").is_enabled()
    page.one("#delete").click()
    assert page.text("delete") == "Really?"
    page.one("#delete").click()
    page.until(lambda: not page.all(".card"))
    assert page.one("#empty").is_displayed()


def test_a_run_goes_on_whatever_the_page_does(browse, paths, server):
    """It is reloaded, hidden, in two tabs that see the same, and closed."""
    page = browse()
    page.choose(paths)
    page.start(**LONG)
    page.until(lambda: page.progress() > 0)
    before = page.progress()
    page.driver.refresh()
    page.until(lambda: page.state().startswith("level 1 of 1"))
    assert page.progress() >= before
    assert page.one("#control-size").get_attribute("value") == "64"
    assert "content.png" in page.text("note-content")
    page.until(lambda: page.progress() > before)
    # The page draws the curve anew while the run goes on, also between finding and reading it.
    page.until(lambda: page.driver.find_elements("css selector", "#curve polyline"))
    page.until(lambda: len(page.one("#curve polyline").get_attribute("points").split()) > 1)

    for hidden in ("true", "false"):  # in its title it goes on
        before = page.progress()
        page.script(
            "Object.defineProperty(document, 'hidden',"
            f" {{value: {hidden}, configurable: true}});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        page.until(lambda before=before: page.progress() > before)

    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.driver.get(server.address)
    page.until(lambda: page.progress() > 0)
    page.one("#cancel").click()
    assert page.ends().startswith("stopped")
    page.driver.close()
    page.driver.switch_to.window(first)
    assert page.ends().startswith("stopped")

    page.start(iterations="30")
    leave(page.driver)
    newest = max(server.events(1)[0], key=lambda run: run["created"])
    assert server.wait(newest["id"])["state"] == "finished"


def test_errors_are_beside_their_control(browse, paths, tmp_path):
    page = browse()
    page.one("#start").click()
    page.until(lambda: "choose a photograph" in page.text("note-content"))
    text = tmp_path / "words.png"
    text.write_text("words")
    page.one("#file-content").send_keys(str(text))
    page.until(lambda: "not a JPEG, PNG, WebP or TIFF" in page.text("note-content"))
    page.choose(paths)
    page.set(size="wide")
    page.until(lambda: page.all("#control-size[aria-invalid=true]"))
    assert "whole numbers" in page.text("control-size-help")
    page.set(size="64", patch_size="0")
    page.open_more()
    page.one("#start").click()
    active = "return document.activeElement.id"
    page.until(lambda: page.script(active) == "control-patch_size")
    assert page.one("#control-patch_size").is_displayed()
    assert "at least 1" in page.text("control-patch_size-help")
    assert "Side of a patch" not in page.text("control-patch_size-help")
    page.set(patch_size="3")
    assert "Side of a patch" in page.text("control-patch_size-help")
    assert not page.all("[aria-invalid]")


def test_an_answer_about_what_the_form_was_is_not_told(browse, paths):
    page = browse()
    page.choose(paths)
    page.script(
        """
        window.held = [];
        const usual = window.fetch;
        window.fetch = async (url, options) => {
            const answer = await usual(url, options);
            if (url === "/api/prepare" && !answer.ok)
                await new Promise((resolve) => window.held.push(resolve));
            return answer;
        };
        """
    )
    page.set(size="wide")
    page.until(lambda: page.script("return window.held.length") == 1)
    page.set(size="64")
    page.script("window.held[0]()")
    time.sleep(0.2)
    assert not page.all("[aria-invalid]")


def test_what_the_weights_lack_is_told_before_the_run(browse, paths):
    page = browse()
    page.choose(paths)
    page.set(size="64", style_loss="nope")
    page.until(lambda: page.all("#control-style_loss[aria-invalid=true]"))
    assert "no style loss 'nope'; choose from mrf, gram" in page.text("control-style_loss-help")
    page.set(style_loss="mrf", content_layer="relu5_4")
    page.until(lambda: page.all("#control-content_layer[aria-invalid=true]"))
    assert not page.all("#control-style_loss[aria-invalid]")
    page.one("#start").click()
    page.until(lambda: page.script("return document.activeElement.id") == "control-content_layer")
    assert "it has relu1_1" in page.text("control-content_layer-help")
    assert not page.all(".card")


def test_a_run_is_compiling_until_it_paints_and_times_have_words(browse, paths):
    page = browse()
    page.choose(paths)
    page.script(
        "window.states = []; new MutationObserver(() => window.states.push("
        "document.getElementById('state').textContent)).observe("
        "document.getElementById('state'), {childList: true, characterData: true, subtree: true})"
    )
    # Layers that no other run has: nothing is compiled before. What is over in half a second is not
    # told of, so there are many of them, and more than a few iterations.
    layers = "relu2_1 relu2_2 relu3_2 relu3_3 relu4_1 relu4_2"
    page.start(size="96", iterations="9", layers=layers)
    finished = page.ends()
    states = page.script("return window.states")
    compiling = [number for number, state in enumerate(states) if "compiling" in state]
    painting = [number for number, state in enumerate(states) if "painting, iter" in state]
    assert compiling, states
    assert painting, states
    assert compiling[0] < painting[0], states
    assert re.fullmatch(r"finished in \d+ (seconds?|minutes?)", finished)
    for state in states:
        assert re.fullmatch(
            r"waiting, next in line.*|starting|(level 1 of 1, )?compiling(, ready in .*)?|"
            r"level 1 of 1, (matching|painting(, iteration \d of 9)?)"
            r"(, (a few seconds|about \d+ seconds|less than a minute|about .* minutes?) left)?|"
            r"finished in .*",
            state,
        ), state


def test_a_run_that_is_refused_while_it_starts_is_told_beside_its_control(browse, paths):
    page = browse()
    page.choose(paths)
    page.start(memory="0.601")
    assert page.ends().startswith("failed")
    page.until(lambda: page.all("#control-size[aria-invalid=true]"))
    assert "GB of memory" in page.text("control-size-help")
    page.set(size="65")
    assert not page.all("[aria-invalid]")


def test_again_with_the_same_settings_and_the_command_to_copy(browse, paths, server):
    page = browse()
    page.choose(paths)
    page.start(seed="5", tv_weight="0.7")
    assert page.ends().startswith("finished")
    command = page.text("command")
    assert "--tv-weight=0.7" in command
    origin = page.script("return location.origin")
    page.command(
        "Browser.grantPermissions",
        origin=origin,
        permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
    )
    page.one("#commanding summary").click()
    page.one("#copy").click()
    page.until(lambda: page.text("copy") == "Copied")
    assert page.script("return navigator.clipboard.readText()") == command
    page.script("sessionStorage.clear()")
    page.driver.refresh()
    page.until(lambda: page.all(".card"))
    assert page.one("#control-seed").get_attribute("value") == "0"
    page.one(".card").click()
    page.one("#again").click()
    values = [page.one(f"#control-{name}").get_attribute("value") for name in ("seed", "tv_weight")]
    assert values == ["5", "0.7"]
    page.start(seed="6")
    assert page.ends().startswith("finished")
    assert page.text("command") == command.replace("--seed=5", "--seed=6")


def test_presets_fill_what_was_not_changed(browse):
    page = browse(values={})
    page.set(content_weight="3")
    page.fill(preset="reference")
    values = {
        name: page.one(f"#control-{name}").get_attribute("value")
        for name in ("content_weight", "size", "iterations")
    }
    assert values == {"content_weight": "3", "size": "384", "iterations": "100"}


def hand_over(page, target, kind, files):
    """Drops or pastes files, given as (name, bytes), or else an address."""
    page.script(
        """
        const [target, type, files] = arguments;
        const data = new DataTransfer();
        for (const [name, bytes] of files)
            data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
        if (!files.length) data.setData("text/plain", "https://example.org/a.png");
        const more = type === "paste" ? {clipboardData: data} : {dataTransfer: data};
        const kind = type === "paste" ? ClipboardEvent : DragEvent;
        document.querySelector(target).dispatchEvent(
            new kind(type, {bubbles: true, cancelable: true, ...more}));
        """,
        *(target, kind, [[name, list(content)] for name, content in files]),
    )


def test_pictures_can_be_dropped_and_pasted(browse, paths):
    page = browse()
    content, style = (path.read_bytes() for path in paths)
    hand_over(page, "#well-style .drop", "drop", [("style.png", style)])
    page.until(lambda: "style.png" in page.text("note-style"))
    hand_over(page, "body", "paste", [("pasted.png", content)])
    page.until(lambda: "pasted.png, 80×48" in page.text("note-content"))
    hand_over(page, "#stage", "drop", [("one.png", content), ("two.png", style)])
    page.until(lambda: "one.png" in page.text("note-content"))
    page.until(lambda: "two.png" in page.text("note-style"))


@pytest.mark.parametrize(("target", "kind"), [("#well-style .drop", "drop"), ("body", "paste")])
def test_what_is_no_file_is_answered_beside_the_drop_zone(browse, target, kind):
    page = browse()
    hand_over(page, target, kind, [])
    note = "note-style" if kind == "drop" else "note-content"
    page.until(lambda: "this is no file" in page.text(note))


SLOW = """
    window.posts = 0;
    const usual = window.fetch;
    window.fetch = async (url, options) => {
        if (options.method === "POST" && url === "/api/runs") window.posts += 1;
        if (url.includes("slow")) await new Promise((resolve) => { window.release = resolve; });
        return usual(url, options);
    };
"""
"""Holds back the upload of what is called slow until `release` is called."""


def test_the_last_choice_counts_and_not_the_last_upload(browse, paths):
    page = browse()
    page.script(SLOW)
    content = paths[0].read_bytes()
    hand_over(page, "#well-content", "drop", [("slow.png", content)])
    page.until(lambda: page.script("return Boolean(window.release)"))
    hand_over(page, "#well-content", "drop", [("fast.png", content)])
    page.until(lambda: "fast.png" in page.text("note-content"))
    before = page.script("return performance.getEntriesByType('resource').length")
    page.script("window.release()")
    page.until(
        lambda: page.script(
            "return performance.getEntriesByType('resource').slice(arguments[0])"
            ".some((one) => one.name.includes('slow'))",
            before,
        )
    )
    time.sleep(0.2)
    assert "fast.png" in page.text("note-content")


def test_start_waits_for_an_upload_and_a_double_click_is_one_start(browse, paths, server):
    page = browse()
    page.choose(paths)
    page.script(SLOW)
    hand_over(page, "#well-content", "drop", [("slow.png", paths[0].read_bytes())])
    page.until(lambda: page.script("return Boolean(window.release)"))
    ActionChains(page.driver).double_click(page.one("#start")).perform()
    page.until(lambda: "when the picture is uploaded" in page.text("problem"))
    assert page.script("return window.posts") == 0
    page.script("window.release()")
    assert page.ends().startswith("finished")
    assert page.script("return window.posts") == 1
    assert page.text("title").startswith("slow")
    page.until(lambda: not page.all("#start[aria-disabled]"))
    ActionChains(page.driver).double_click(page.one("#start")).perform()
    page.until(lambda: len(page.all(".card")) == 2)
    page.until(lambda: not page.all("#start[aria-disabled]"))
    assert page.script("return window.posts") == 2


def test_what_was_not_painted_is_not_shown_as_a_picture(browse, paths, server):
    page = browse()
    page.choose(paths)
    page.start(style_weight="1e38")
    assert page.ends().startswith("failed")
    assert "Nothing was painted" in page.text("empty")
    assert not page.one("#canvas").is_displayed()
    assert page.all(".card.nothing")
    wide, inner = page.script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
    box = page.script(
        "const state = document.getElementById('state'), before = state.textContent;"
        "state.textContent = 'long '.repeat(90);"
        "const box = state.getBoundingClientRect(), around = state.parentElement;"
        "const found = [box.right, around.getBoundingClientRect().right, box.height];"
        "state.textContent = before; return found"
    )
    assert box[0] <= box[1] + 1
    assert box[2] > 30  # it is in several lines
    page.one("#clear").click()
    page.until(lambda: not page.all(".card"))
    assert not page.one("#clear").is_displayed()
    assert "Two pictures, then Start" in page.text("empty")


def test_the_pictures_that_the_command_needs_are_beside_it(browse, paths, tmp_path):
    page = browse()
    content = paths[0].read_bytes()
    hand_over(page, "#well-content", "drop", [("image.png", content)])
    hand_over(page, "#well-style", "drop", [("image.png", paths[1].read_bytes())])
    page.until(lambda: "image" in page.text("note-content") + page.text("note-style"))
    page.start()
    assert page.ends().startswith("finished")
    assert page.text("inputs") == "The command needs image.png and image-2.png"
    downloads = tmp_path / "downloads"
    page.one("#commanding summary").click()
    for link in page.all("#inputs a"):
        link.click()
    page.until(lambda: len(list(downloads.glob("*.png"))) == 2)
    result = page.script(
        "const done = await fetch(document.getElementById('full').href);"
        "return [...new Uint8Array(await done.arrayBuffer())]"
    )
    assert bytes(result) == command_line(page.text("command"), downloads, here=True)


def test_two_runs_under_a_slider_and_side_by_side_at_any_size(browse, paths, server):
    pair = [server.upload(path) for path in paths]
    first, second = (server.submit(*pair, **SHALLOW, tv_weight=weight) for weight in ("1", "9"))
    server.wait(second["id"])
    page = browse()
    page.until(page.sharp)
    page.one(f"li:has([data-id='{first['id']}']) .pin").click()  # beside the newest
    page.until(lambda: first["id"] in page.one("#before").get_attribute("src"))
    assert page.split() == "50%"

    def sheets():
        return [sheet.rect for sheet in page.all(".sheet") if sheet.is_displayed()]

    slid = sheets()
    page.press("b")
    left, right = sheets()
    assert left["width"] == right["width"] < slid[0]["width"] or left["y"] < right["y"]
    assert "tv weight 1" in page.one("#pane-beside .side").text
    assert "tv weight 9" in page.text("side-after")
    page.press("+", "+")
    larger = sheets()
    assert larger[0]["width"] == larger[1]["width"] > 1.9 * left["width"]
    ActionChains(page.driver).drag_and_drop_by_offset(page.one("#canvas"), -30, 0).perform()
    moved = sheets()
    assert [sheet["x"] for sheet in moved] == pytest.approx(
        [sheet["x"] - 30 for sheet in larger], abs=1
    )
    page.press("1")
    assert sheets()[0]["width"] == pytest.approx(64)
    page.press("0", "b")
    assert sheets() == slid
    at = page.one("#canvas").rect
    middle = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
    wheel = ActionChains(page.driver).scroll_from_origin
    wheel(ScrollOrigin.from_element(page.one("#canvas")), 0, -200).perform()
    turned = sheets()[0]["width"]
    assert turned > 1.3 * slid[0]["width"]
    for kind, apart in (("Start", 20), ("Move", 40), ("Move", 60), ("End", 0)):
        points = [{"x": middle[0] + side * apart, "y": middle[1]} for side in (-1, 1)]
        points = points if apart else []
        page.command("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)
    assert sheets()[0]["width"] == pytest.approx(3 * turned, rel=0.05)


def test_three_paintings_and_a_blend(browse, paths):
    page = browse()
    files = [(f"{name}.png", paths[1].read_bytes()) for name in ("one", "two", "three")]
    hand_over(page, "#well-style .drop", "drop", files)
    page.until(lambda: len(page.all("#paintings li")) == 3)
    page.take_examples(2)
    sliders = page.all("#paintings input")
    page.script(
        "arguments[0].value = 0.5; arguments[0].dispatchEvent(new Event('input'))", sliders[1]
    )
    values = [float(slider.get_attribute("value")) for slider in sliders]
    assert values == [0.25, 0.5, 0.25]
    page.start()
    assert page.ends().startswith("finished")
    command = page.text("command")
    assert "cat-chelsea-cc0.jpg one.png two.png three.png" in command
    assert "--style-blend=0.25,0.50,0.25" in command
    page.one("#paintings li:nth-child(2) button").click()
    values = [slider.get_attribute("value") for slider in page.all("#paintings input")]
    assert values == ["0.5", "0.5"]
    page.one("#again").click()
    assert len(page.all("#paintings li")) == 3
    assert page.one("#paintings input:nth-of-type(1)").get_attribute("value") == "0.25"
    options = page.one("#against").text
    assert all(f"painting {name}" in options for name in ("one", "two", "three"))


def test_a_mask_and_guides_are_painted_with_the_mouse(browse, paths):
    page = browse(values={**SHALLOW, "size": "80"})
    page.choose(paths)
    page.one("#paint-mask").click()
    page.until(lambda: page.one("#brush-sheet").rect["width"] > 100)
    canvas = page.one("#brush-canvas")

    def painted():
        """Share of the canvas that is not dimmed, or is tinted."""
        return page.script(
            "const canvas = document.getElementById('brush-canvas'), dimmed = arguments[0];"
            "const context = canvas.getContext('2d');"
            "const {data} = context.getImageData(0, 0, canvas.width, canvas.height);"
            "let count = 0; for (let i = 3; i < data.length; i += 4)"
            " count += dimmed ? data[i] === 0 : data[i] > 0; return count / (data.length / 4)",
            page.text("brush-title") == "Where to paint",
        )

    def stroke(x, y, *moves):
        chain = ActionChains(page.driver, 20).move_to_element_with_offset(canvas, x, y)
        chain = chain.click_and_hold()
        for move in moves:
            chain = chain.move_by_offset(*move)
        chain.release().perform()

    assert painted() == 0
    page.script("document.getElementById('brush-size').value = 30")
    stroke(-200, -150, (0, 300))
    once = painted()
    assert 0.05 < once < 0.4
    page.one("#tool-fill").click()
    stroke(-280, 0)
    assert painted() > once
    keys = ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL)
    keys.perform()
    assert painted() == once
    page.one("#brush-redo").click()
    filled = painted()
    assert filled > once
    page.one("#tool-erase").click()
    stroke(-200, -100)
    assert once / 2 < painted() < filled
    page.one("#brush-undo").click()
    page.one("#brush-undo").click()
    assert painted() == once
    page.one("#brush-done").click()
    page.until(lambda: page.one("#remove-mask").is_displayed())

    page.one("#paint-guides").click()
    for place in (1, 2):
        page.one(f"#brush-sheets button:nth-child({place})").click()
        page.one("#tool-brush").click()
        stroke(0, -20, (40, 40))
        assert painted() > 0
    page.one("#brush-done").click()
    page.until(lambda: page.one("#remove-guides").is_displayed())
    page.start()
    assert page.ends().startswith("finished")
    run = page.body()
    assert run["titles"]["mask"] == ["content_mask.png"]
    assert run["titles"]["content_guide"] == ["content_sem.png"]
    assert run["titles"]["style_guide"] == ["style_sem.png"]
    page.one("#commanding summary").click()
    assert len(page.all("#inputs a")) == 5
    changed = page.script(
        """
        const pixels = async (url) => {
            const image = new Image(); image.src = url; await image.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [80, 48];
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0, 80, 48);
            return context.getImageData(0, 0, 80, 48).data;
        };
        const [run] = arguments;
        const before = await pixels(`/api/pictures/${run.inputs.content[0]}/whole`);
        const after = await pixels(`/api/runs/${run.id}/result?show=1`);
        const mask = await pixels(`/api/pictures/${run.inputs.mask[0]}/whole`);
        let [inside, outside] = [0, 0];
        for (let i = 0; i < before.length; i += 4) {
            const same = [0, 1, 2].every((channel) => before[i + channel] === after[i + channel]);
            if (mask[i] > 127) inside += !same; else outside += !same;
        }
        return [inside, outside];
        """,
        run,
    )
    assert changed[0] > 100
    assert changed[1] == 0
    page.one("#remove-mask").click()
    page.until(lambda: not page.one("#remove-mask").is_displayed())
    page.one("#again").click()
    page.one("#paint-mask").click()
    page.until(lambda: page.one("#brush-sheet").rect["width"] > 100)
    assert painted() == once


def test_guides_that_do_not_go_together_are_told_beside_them(browse, paths, tmp_path):
    page = browse()
    page.choose(paths)
    page.one("#paint-guides").click()
    page.until(lambda: page.one("#brush-sheet").rect["width"] > 100)
    page.one("#brush-file").send_keys(str(paths[1]))
    page.until(lambda: "other proportions" in page.text("brush-problem"))
    guide = Image.new("RGB", (80, 48), "white")
    guide.paste("#123456", (0, 0, 40, 48))
    guide.save(tmp_path / "guide.png")
    page.one("#brush-file").send_keys(str(tmp_path / "guide.png"))
    page.until(lambda: page.one("#brush-undo").is_enabled())
    page.one("#brush-done").click()
    page.until(lambda: "the content guide content_sem.png is in no" in page.text("labels-note"))
    page.one("#remove-guides").click()
    assert page.text("labels-note") == ""


def test_a_small_grid_of_variations_and_one_of_them_large(browse, paths, tmp_path):
    page = browse()
    page.choose(paths)
    page.one("#vary-these").click()
    page.until(lambda: page.one("#vary").is_displayed())
    assert page.text("vary-count") == "10 pictures"
    page.script(
        """
        for (const [name, text] of Object.entries(arguments[0])) {
            document.getElementById(`vary-${name}-values`).value = text;
            document.getElementById(`vary-${name}`).checked = Boolean(text);
        }
        document.getElementById("vary").dispatchEvent(new Event("input"));
        """,
        {"alpha": "", "color": "match, keep", "style_scale": "1, 1.2"},
    )
    assert page.text("vary-start") == "Paint 4"
    page.one("#vary-start").click()
    page.until(lambda: len(page.all(".group .card")) == 4)
    page.until(
        lambda: all("pending" not in card.get_attribute("class") for card in page.all(".card"))
    )
    page.until(lambda: not page.one(".group .cancel").is_displayed())
    told = [card.text for card in page.all(".group .card .chosen")]
    assert told == [
        f"color {color}, strokes ×{scale}" for color in ("match", "keep") for scale in ("1", "1.2")
    ]
    assert "4 variations of content" in page.one(".group h3").text
    page.one(".group .zip").click()
    file = page.until(lambda: next((tmp_path / "downloads").glob("*.zip"), None))
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == 5
        assert "--color=keep" in archive.read("commands.txt").decode()
    page.all(".group .card")[2].click()
    page.fill(size="80")
    page.one("#large").click()
    page.until(lambda: len(page.all(".card")) == 5)
    assert page.ends().startswith("finished")
    assert "--color=keep" in page.text("command")
    assert "--size=80" in page.text("command")
    assert not page.text("rounding")


def test_variations_can_be_canceled_together(browse, paths):
    page = browse()
    page.choose(paths)
    page.fill(**LONG)
    page.one("#vary-these").click()
    page.until(lambda: page.one("#vary").is_displayed())
    page.one("#vary-start").click()
    page.until(lambda: len(page.all(".group .card")) == 10)
    page.until(lambda: page.progress() > 0)
    page.one(".group .cancel").click()
    page.until(lambda: not page.one(".group .cancel").is_displayed())
    states = [card.text for card in page.all(".group .card .sub")]
    assert states[0] == "stopped"
    assert states[1:] == ["canceled"] * 9


def test_without_a_photograph_and_shown_as_tiles(browse):
    little = {name: SHALLOW[name] for name in ("levels", "iterations", "layers", "optimizer")}
    page = browse(values=little)
    page.take_examples(0, 2)
    page.one("#without").click()
    assert page.one("#control-size").get_attribute("value") == "384x384"
    assert not page.one("#control-alpha").is_displayed()
    page.fill(size="64x48", init="shuffle")
    page.open_more()
    tileable = page.one("#control-tileable")
    page.script("arguments[0].scrollIntoView({block: 'center'})", tileable)
    tileable.click()
    page.start()
    assert page.ends().startswith("finished")
    assert page.text("command").startswith("jaxmrf synthesize vangogh-road-to-tarascon-1888.jpg")
    assert "--tileable" in page.text("command")
    page.until(page.sharp)
    tiles = "return getComputedStyle(document.querySelector('#canvas > .sheet')).backgroundImage"
    assert page.run() in page.script(tiles)
    page.one("#tiles").click()
    assert page.script(tiles) == "none"
    page.one("#without").click()
    assert page.one("#control-size").get_attribute("value") == "512"
    assert page.one("#control-alpha").is_displayed()


def test_long_names_do_not_make_a_phone_scroll_sideways(browse, paths, server):
    content = paths[0].read_bytes()
    for number in range(2):
        name = f"a name that is very long and has no end at all {number}.png"
        uploaded = server.client.post("/api/pictures", params={"name": name}, content=content)
        server.submit(*[uploaded.json()["id"]] * 2, **SHALLOW)
    page = browse(PHONE)
    page.until(lambda: len(page.all(".card")) == 2)
    for width in (390, 320):
        page.resize((width, 844))
        wide, inner = page.script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= inner == width


def test_a_phone(browse, paths):
    page = browse(PHONE, QUICKEST)
    page.choose(paths)
    wide, inner = page.script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
    small = page.script(
        "return [...document.querySelectorAll('button, select, .button, input')]"
        ".filter((node) => !['file', 'checkbox'].includes(node.type))"
        ".filter((node) => node.offsetParent && node.getBoundingClientRect().height < 30)"
        ".map((node) => node.id || node.outerHTML)"
    )
    assert small == []
    page.fill(size="512")
    page.one("#quick").click()
    page.until(lambda: page.state().startswith(("level", "finished")))
    assert page.script("return scrollY") > 0  # the picture is in view
    assert page.ends().startswith("finished")
    assert "--size=256" in page.text("command")
    assert sum(page.script("return window.shifts")) < 0.01
    page.until(page.sharp)
    page.script(
        "const slider = document.getElementById('compare'); slider.value = 38;"
        "slider.dispatchEvent(new Event('input'));"
    )
    for name in ("side-before", "side-after"):
        inside = page.script(
            "const one = document.getElementById(arguments[0]), box = one.getBoundingClientRect(),"
            " around = document.getElementById('canvas').getBoundingClientRect();"
            "return box.width > 0 && box.left >= around.left && box.right <= around.right",
            name,
        )
        assert inside
    wide, inner = page.script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
    assert not page.one(".card").is_displayed()  # the gallery is a drawer
    page.one("#show-gallery").click()
    page.until(lambda: page.one(".card").is_displayed())
    assert page.script("return document.activeElement.id") == "hide-gallery"
    page.press(Keys.ESCAPE)
    page.until(lambda: not page.one(".card").is_displayed())
    assert page.script("return document.activeElement.id") == "show-gallery"
    page.press("g")
    page.until(lambda: page.one(".card").is_displayed())
    page.one(".card").click()
    page.until(lambda: not page.one(".card").is_displayed())
    for opener, closer in (("#vary-run", "#hide-vary"), ("#paint-guides", "#brush-cancel")):
        page.one(opener).click()
        page.until(lambda closer=closer: page.one(closer).is_displayed())
        inside = page.script(
            "const box = document.querySelector('dialog[open]').getBoundingClientRect();"
            "return box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight"
        )
        assert inside
        page.one(closer).click()


def test_the_keyboard_is_enough(browse):
    page = browse(values={**LONG, "size": "1200"})  # too large to be compiled beforehand
    press = page.press

    def type_over(text):
        ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("a").key_up(
            Keys.CONTROL
        ).send_keys(text).perform()

    def tab_to(selector):
        for _ in range(80):
            press(Keys.TAB)
            if page.script("return document.activeElement.matches(arguments[0])", selector):
                outline = page.script(
                    "const node = document.activeElement.type === 'file' ?"
                    " document.activeElement.nextElementSibling : document.activeElement;"
                    "return getComputedStyle(node).outlineStyle"
                )
                assert outline != "none"
                return
        raise AssertionError(f"no tab leads to {selector}")

    tab_to("#file-content")
    tab_to("#well-content .examples button")
    press(Keys.ENTER)
    tab_to("#well-style .examples button")
    press(Keys.SPACE)
    tab_to("#paint-mask")
    press(Keys.ENTER)
    page.until(lambda: page.one("#brush-canvas").is_displayed())
    tab_to("#brush-canvas")
    press(Keys.SPACE, Keys.ARROW_RIGHT, Keys.SPACE)
    tab_to("#brush-done")
    press(Keys.ENTER)
    page.until(lambda: page.one("#remove-mask").is_displayed())
    tab_to("#control-alpha")
    press(Keys.ARROW_RIGHT)
    tab_to("#control-size")
    type_over("64")
    tab_to("#more summary")
    press(Keys.ENTER)
    tab_to("#control-iterations")
    type_over("2")
    press(Keys.ENTER)
    page.until(lambda: page.state().startswith("finished"))
    assert "--alpha=0.55" in page.text("command")
    assert "--size=64" in page.text("command")
    assert "_mask.png" in page.text("command")
    tab_to("#compare")
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.split() == "1%"
    tab_to("#download")
    tab_to("#again")
    press(Keys.ENTER)
    assert page.script("return document.activeElement.id") == "control-size"
    tab_to(".card")
    press(Keys.ENTER)
    press("v")
    page.until(lambda: page.one("#vary").is_displayed())
    press(Keys.ESCAPE)
    page.until(lambda: not page.one("#vary").is_displayed())


def test_all_columns_are_in_sight_and_keys_go_through_the_gallery(browse, paths, server):
    pair = [server.upload(path) for path in paths]
    runs = [server.submit(*pair, **SHALLOW, seed=str(seed)) for seed in range(3)]
    server.wait(runs[-1]["id"])
    page = browse()
    page.until(lambda: len(page.all(".card")) == 3)
    inside = (
        "return ['form', 'stage', 'gallery'].every((name) => {"
        "const box = document.getElementById(name).getBoundingClientRect();"
        "return box.top >= 0 && box.bottom <= innerHeight && box.right <= innerWidth})"
        "&& document.documentElement.scrollHeight <= innerHeight"
    )
    assert page.script(inside)
    page.open_more()
    assert page.script(inside)  # the form scrolls by itself
    card = page.one(".card .picture").rect
    assert card["width"] / card["height"] == pytest.approx(64 / 38, rel=0.05)  # and not cropped
    assert page.run() == runs[2]["id"]
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.run() == runs[0]["id"]
    page.press(Keys.ARROW_LEFT)
    assert page.run() == runs[1]["id"]
    page.press("c")
    assert page.split() == "50%"
    page.press("?")
    assert page.one("#keys").is_displayed()
    page.press("s", Keys.ESCAPE)  # in a dialog no key does what it does outside
    assert not page.one("#keys").is_displayed()
    page.one("#control-content_layer").send_keys("scq?")
    assert page.one("#control-content_layer").get_attribute("value").endswith("scq?")
    assert page.split() == "50%"
    assert not page.one("#keys").is_displayed()
    page.one("#show-keys").click()
    page.one("#single-keys").click()
    page.one("#hide-keys").click()
    page.script("document.activeElement.blur()")
    page.press("c")
    assert page.split() == "50%"
    assert len(page.all(".card")) == 3


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_accessibility(browse, paths, size):
    page = browse(size)
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")

    page.script(axe)
    page.driver.set_script_timeout(60)

    def violations():
        found = []
        # In the dark only the colors are others.
        for dark, more in ((False, {}), (True, {"runOnly": ["color-contrast"]})):
            page.appear(dark, still=True)
            found += page.driver.execute_async_script(
                "const [more, done] = arguments;"
                "axe.run(document, {resultTypes: ['violations'], ...more})"
                ".then((results) => done(results.violations), (error) => done([String(error)]));",
                more,
            )
        return [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found]

    assert violations() == []
    page.one("#start").click()
    page.until(lambda: "choose a photograph" in page.text("note-content"))
    page.open_more()
    assert violations() == []
    page.choose(paths)
    page.start(**LONG)
    page.until(lambda: page.progress() > 0)
    assert violations() == []
    page.one("#cancel").click()
    assert page.ends().startswith("stopped")
    page.until(page.sharp)
    page.press("c")
    assert violations() == []
    for opener, dialog in (("?", "keys"), ("#vary-run", "vary"), ("#paint-guides", "brush")):
        if opener == "?":
            page.press("?")
        else:
            page.one(opener).click()
        page.until(lambda dialog=dialog: page.all(f"#{dialog}[open]"))
        assert violations() == [], dialog
        page.press(Keys.ESCAPE)
    if size == PHONE:
        page.one("#show-gallery").click()
        assert violations() == []


def test_the_page_comes_back_when_the_server_does(browse, paths, server):
    page = browse()
    page.choose(paths)
    page.start()
    assert page.ends().startswith("finished")
    port = server.address.rpartition(":")[2]
    server.end()
    page.until(lambda: page.text("connection"))
    server.start("--port", port)
    page.until(lambda: not page.text("connection"))
    page.one("#start").click()
    page.until(lambda: len(page.all(".card")) == 2)
    assert page.ends().startswith("finished")
    page.driver.get_log("browser")  # that the server was away


@pytest.mark.slow
def test_screenshots(browse, tmp_path, server):
    """What docs/web.md shows; small and thrown away unless `SCREENSHOTS` says where to."""
    folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
    settings = {"size": "384"} if SCREENSHOTS else {**SHALLOW, "iterations": "20"}
    desktop, phone = browse(DESKTOP, {}), browse(PHONE, {}, dark=True)

    def shoot(page, moment):
        time.sleep(0.5)
        shot = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
        path = folder / f"page-{'phone' if page is phone else 'desktop'}-{moment}.jpg"
        shot.save(path, quality=82, optimize=True)
        assert path.stat().st_size < 250_000

    def compare():
        for page in (desktop, phone):
            page.until(page.sharp)
            page.script(
                "const slider = document.getElementById('compare'); slider.value = 38;"
                "slider.dispatchEvent(new Event('input'));"
            )

    for page in (desktop, phone):
        page.take_examples(2, 2)
        page.until(lambda page=page: "vangogh" in page.text("note-style"))
        page.fill(**settings)
    shoot(phone, "start")
    desktop.appear(dark=True)
    desktop.one("#start").click()
    for page in (desktop, phone):
        page.until(lambda page=page: page.progress() > 0.15)
    phone.script("document.getElementById('stage').scrollIntoView()")
    shoot(phone, "middle")
    shoot(desktop, "middle")
    desktop.appear(dark=False)
    for page in (desktop, phone):
        assert page.ends().startswith("finished")
    compare()
    shoot(phone, "end")
    shoot(desktop, "end")

    desktop.one("#vary-run").click()
    size = "256" if SCREENSHOTS else settings["size"]
    desktop.script("document.getElementById('vary-size').value = arguments[0]", size)
    shoot(desktop, "varying")
    desktop.one("#vary-start").click()
    desktop.until(lambda: len(desktop.all(".group .card")) == 10)
    desktop.until(lambda: not desktop.one(".group .cancel").is_displayed(), 900)
    cards = desktop.all(".group li")
    cards[2].find_element(By.CSS_SELECTOR, ".card").click()
    cards[7].find_element(By.CSS_SELECTOR, ".pin").click()
    desktop.one("#beside").click()
    desktop.until(desktop.sharp)
    shoot(desktop, "vary")

    desktop.one("#paint-guides").click()
    desktop.until(lambda: desktop.one("#brush-sheet").rect["width"] > 100)
    canvas = desktop.one("#brush-canvas")
    for color, start, moves in (
        (2, (0, -60), [(-40, 90), (60, 40), (90, -30), (-40, -60), (-60, 40)]),
        (1, (330, -120), [(10, 60), (0, 80), (20, 60)]),
    ):
        desktop.one(f"#brush-colors label:nth-child({color})").click()
        chain = ActionChains(desktop.driver).move_to_element_with_offset(canvas, *start)
        chain = chain.click_and_hold()
        for move in moves:
            chain = chain.move_by_offset(*move)
        chain.release().perform()
    shoot(desktop, "brush")
    assert len(list(folder.glob("page-*.jpg"))) == 8
