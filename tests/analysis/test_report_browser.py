"""The report in a real browser: no errors, nothing wider than the screen, charts that answer; skipped where there is no Chromium."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.analysis.config import parse_config
from resonaut.analysis.search import run_search
from resonaut.processors import write_table

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
WIDER = """[...document.querySelectorAll('main *, header *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest('.scroll, .pan, pre, svg') && e.getBoundingClientRect().width > 0).map(e => e.tagName + '.' + e.className).slice(0, 5)"""


@dataclass
class Seen:
    """What a visit to a page found."""

    problems: list[str] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    screenshot: bytes = b""
    pdf: bytes = b""


class _Tab:
    """A tab of a browser that is steered over its debugging protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.number = 0
        self.seen = Seen()

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            message = json.loads((await self.socket.receive(timeout=60)).data)
            self._note(message)
            if message.get("id") == self.number:
                if "error" in message:
                    msg = f"{method}: {message['error']}"
                    raise AssertionError(msg)
                found: dict[str, Any] = message["result"]
                return found

    def _note(self, message: dict[str, Any]) -> None:
        method, content = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = content["exceptionDetails"]
            self.seen.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and content["type"] in ("error", "warning", "assert"):
            self.seen.problems.append(str([a.get("value") for a in content["args"]]))
        elif method == "Log.entryAdded" and content["entry"]["level"] in ("error", "warning"):
            self.seen.problems.append(content["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not content["request"]["url"].startswith(("data:", "file:")):
            self.seen.problems.append(f"asked the network for {content['request']['url']}")

    async def run(self, script: str) -> Any:
        found = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")


async def _visit(port: int, page: Path, width: int, scripts: Sequence[str], javascript: bool, pictures: bool) -> Seen:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
            target = await answer.json()
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = _Tab(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.send(f"{domain}.enable")
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            await tab.send("Emulation.setDeviceMetricsOverride", **screen)
            await tab.send("Emulation.setScriptExecutionDisabled", value=not javascript)
            await tab.send("Page.navigate", url=page.as_uri())
            for _ in range(100):  # until all is loaded; the images are in the page itself
                if javascript and await tab.run("document.readyState === 'complete'"):
                    break
                await asyncio.sleep(0.1 if javascript else 0.02)
            for script in scripts:
                tab.seen.answers.append(await tab.run(script))
            if pictures:
                size = (await tab.send("Page.getLayoutMetrics"))["cssContentSize"]
                clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
                shot = await tab.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
                tab.seen.screenshot = base64.b64decode(shot["data"])
                pdf = await tab.send("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
                tab.seen.pdf = base64.b64decode(pdf["data"])
            return tab.seen


class Browser:
    """A headless Chromium."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run",
                   "--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank"]  # fmt: skip
        self.process = subprocess.Popen([CHROMIUM, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port = self._port(profile / "DevToolsActivePort")

    def _port(self, file: Path) -> int:
        for _ in range(600):
            if self.process.poll() is not None:
                pytest.skip(f"Chromium does not start here (exit code {self.process.returncode})")
            if file.is_file() and (lines := file.read_text().split()):
                return int(lines[0])
            time.sleep(0.1)
        self.close()
        pytest.skip("Chromium did not open its debugging port within a minute")

    def visit(
        self, page: Path, *scripts: str, width: int = 1400, javascript: bool = True, pictures: bool = False
    ) -> Seen:
        return asyncio.run(_visit(self.port, page, width, scripts, javascript, pictures))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small search with a bump, two cuts and a figure of validation and interpretation each."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(3)
    mass = np.concatenate([2800 + rng.exponential(500, 6000), rng.normal(3500, 60, 150)])
    mass, count = mass[mass < 5200], int((mass[mass < 5200] > 0).sum())
    table = {"mjj": mass, "a": rng.normal(size=count) + 3 * (np.abs(mass - 3500) < 60), "b": rng.normal(size=count)}
    write_table(folder / "events.parquet", {**table, "event": np.arange(count), "weight": np.ones(count)})
    method = {"name": "cwola-trees", "features": ["a", "b"], "options": {"members": 1, "max_iter": 10}}
    content = {
        "name": "A search with a rather long name, <script>alert(1)</script> & all, that has to break on a narrow screen",
        "seed": 5, "workers": 1, "input": {"files": ["events.parquet"]}, "methods": [method],
        "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 4, "only": [3500, 3700]},
        "selection": {"cuts": [0.1, 0.02], "folds": 3}, "limits": {"cuts": [1.0, 0.1]},
    }  # fmt: skip
    return run_search(parse_config(content), folder, folder / "run")


@pytest.mark.parametrize("width", [375, 768, 1400])
def test_the_page_fits_the_screen_and_makes_no_errors(browser: Browser, page: Path, width: int) -> None:
    seen = browser.visit(page, OVERFLOW, WIDER, width=width)
    assert seen.problems == []
    assert seen.answers == [0, []]


def test_errors_and_overflow_would_be_seen(browser: Browser, page: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    wide = '<p style="width:1200px">wide</p><script>throw new Error("planted")</script><img src="http://127.0.0.1:9/x.png">'
    bad.write_text(page.read_text().replace("</main>", wide + "</main>"))
    seen = browser.visit(bad, OVERFLOW, width=375)
    assert any("planted" in problem for problem in seen.problems)
    assert any("asked the network" in problem for problem in seen.problems)
    assert seen.answers[0] > 0


POINT = """(async () => {
  const svg = document.querySelector('[data-chart=scan] svg');
  svg.scrollIntoView({block: 'center', behavior: 'instant'});
  const box = [...svg.querySelectorAll('[data-point]')].find(e => e.dataset.point.endsWith(CUT)).getBoundingClientRect();
  const where = {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, pointerType: 'mouse'};
  svg.dispatchEvent(new PointerEvent('pointermove', where));
  const tip = document.querySelector('[data-chart=scan] .tip');
  return tip.hidden ? '' : tip.innerText;
})()"""


def test_pointing_at_an_entry_of_the_scan_shows_its_numbers(browser: Browser, page: Path) -> None:
    summary = json.loads(page.with_name("summary.json").read_text())
    entry = next(w for w in summary["windows"] if w["cut"] == 0.02)
    seen = browser.visit(page, POINT.replace("CUT", "'|cwola-trees|0.02'"))
    text = seen.answers[0]
    for expected in ("cwola-trees", "2 %", f"{entry['observed']:.0f}", f"{entry['expected']:.1f}", "GeV", "local p"):
        assert expected in text


def test_the_scan_answers_to_the_keyboard(browser: Browser, page: Path) -> None:
    press = """(() => { const svg = document.querySelector('[data-chart=scan] svg'), key = k =>
        svg.dispatchEvent(new KeyboardEvent('keydown', {key: k, bubbles: true, cancelable: true}));
      svg.focus(); key('ArrowRight'); const first = document.querySelector('[data-chart=scan] .tip').innerText;
      key('ArrowRight'); const second = document.querySelector('[data-chart=scan] .tip').innerText;
      key('Escape'); return [first, second, document.querySelector('[data-chart=scan] .tip').hidden]; })()"""
    first, second, hidden = browser.visit(page, press).answers[0]
    assert "observed" in first
    assert first != second
    assert hidden is True


def test_a_cut_can_be_taken_out_of_the_scan_and_a_window_be_chosen(browser: Browser, page: Path) -> None:
    points = "document.querySelectorAll('[data-chart=scan] [data-point]').length"
    click = "document.querySelector('[data-chart=scan] .chips button').click()"
    other = """(() => { const s = document.querySelector('[data-chart=spectra] select');
      const next = [...s.options].find(o => o.value !== s.value).value;
      s.value = next; s.dispatchEvent(new Event('change'));
      return document.querySelector('[data-chart=spectra] svg').getAttribute('aria-label').includes(next); })()"""
    sort = """(() => { const rows = () => [...document.querySelectorAll('[data-entries] tbody tr')].map(r => JSON.parse(r.dataset.values)[6]);
      document.querySelectorAll('[data-entries] th')[6].click(); const p = rows();
      return p.every((v, k) => k === 0 || p[k - 1] <= v) && p.length; })()"""
    seen = browser.visit(page, points, click, points, other, sort)
    windows = len(json.loads(page.with_name("summary.json").read_text())["windows"])
    before, _, after, chosen, sorted_rows = seen.answers
    assert before == windows
    assert after == windows - len(
        {(w["low"]) for w in json.loads(page.with_name("summary.json").read_text())["windows"]}
    )
    assert chosen is True
    assert sorted_rows == windows
    assert seen.problems == []


def test_without_javascript_the_static_figures_are_there(browser: Browser, page: Path) -> None:
    from PIL import Image

    on = browser.visit(page, "document.querySelectorAll('noscript img').length")
    assert on.answers == [0]  # with scripts, the content of noscript is text
    off = browser.visit(page, javascript=False, pictures=True)
    picture = page.with_name("off.png")
    picture.write_bytes(off.screenshot)
    with Image.open(picture) as shot:
        assert shot.height > 4000  # the figures have their places
    assert page.read_text().count("<noscript>") == 2


def test_the_page_prints_on_paper(browser: Browser, page: Path) -> None:
    from io import BytesIO

    from pypdf import PdfReader

    pages = PdfReader(BytesIO(browser.visit(page, pictures=True).pdf)).pages
    assert 4 <= len(pages) < 25
    width, height = float(pages[0].mediabox.width), float(pages[0].mediabox.height)
    assert (width, height) == pytest.approx((595, 842), abs=2)  # A4
    text = " ".join(each.extract_text() for each in pages)
    assert "Summary" in text
    assert "Provenance" in text
    for part in (
        "Local p-value",
        "Events / bin",
        "no cut",
        "10 %",
        "cwola-trees.",
    ):  # charts with their legends and windows
        assert part in text
