"""The demo page served in a process of its own, and a browser at it. With AULLM_SCREENSHOTS set to a folder, what the
browser shows is saved there, to be looked at.
"""

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--use-fake-ui-for-media-stream",
         "--use-fake-device-for-media-stream")  # fmt: skip
PHONE, DESK = (375, 812), (1280, 900)


@contextmanager
def served_demo(folder: Path, *options, **env: str) -> Iterator[str]:
    """The address of `aullm demo`, whose temporary files lie in the folder; nothing of them may be left."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    pytest.importorskip("gradio", reason='Gradio is not installed: pip install "aullm-hf[demo]"')
    pytest.importorskip("selenium", reason='selenium is not installed: pip install "aullm-hf[test]"')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "aullm_hf", "demo", "--port", str(port), *map(str, options)]
    with (folder / "log").open("w") as log:
        env = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | env
        server = subprocess.Popen(command, stdout=log, stderr=log, env=env)
    try:
        end = time.monotonic() + 300
        while "The page is at" not in (said := (folder / "log").read_text()):
            assert server.poll() is None and time.monotonic() < end, said
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=90)
    assert not list(folder.glob("aullm-demo-*")), "uploads were left behind"


class Visitor:
    """A browser at the page."""

    def __init__(self, address: str, size: tuple[int, int], folder: Path, flags: tuple[str, ...] = ()):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        self.address, self.size, self.folder = address, size, folder
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.ask("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1,
                 mobile=size[0] < 500)  # fmt: skip
        self.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.driver.get(address)
        self.find("#send")

    def ask(self, method: str, **arguments) -> dict:
        return self.driver.execute_cdp_cmd(method, arguments)

    def run(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, what, seconds: float = 60):
        """The first true thing `what` gives; the page's state where it never does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := what():
                return value
            time.sleep(0.1)
        self.picture("never")
        raise AssertionError(
            f"waited {seconds:g} s in vain; the page says: {self.run('return document.body.innerText')}"
        )

    def find(self, css: str):
        return self.until(lambda: self.driver.find_elements("css selector", css))[0]

    def click(self, css: str) -> None:
        """Click when it can be clicked: while a page is being laid out, things move under the pointer."""
        from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException

        def clicked() -> bool:
            try:
                self.find(css).click()
            except (ElementClickInterceptedException, StaleElementReferenceException):
                return False
            return True

        self.until(clicked)

    def text(self, css: str) -> str:
        return self.find(css).text

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> dict:
        """What the keyboard is at: its tag, id, words, and whether one sees it."""
        return self.run(
            "const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();"
            "return {tag: e.tagName, id: e.id, type: e.type || '', value: e.value || '',"
            " text: (e.innerText || e.ariaLabel || '').trim(),"
            " outline: s.outlineStyle == 'none' ? 0 : parseFloat(s.outlineWidth), width: r.width,"
            " inside: (e.closest('[id]') || {}).id || ''}"
        )

    def tab_to(self, wanted, most: int = 60) -> dict:
        """Tab on until the focus is where it is wanted; every stop on the way can be seen."""
        from selenium.webdriver import Keys

        for _ in range(most):
            self.press(Keys.TAB)
            stop = self.focused()
            if stop["tag"] in ("BUTTON", "A") or stop["type"] in ("radio", "checkbox"):
                assert stop["outline"] >= 2, f"the focus cannot be seen at {stop}"
            if wanted(stop):
                return stop
        raise AssertionError(f"{most} tabs did not lead there; the last stop was {stop}")

    def picture(self, name: str) -> None:
        if folder := os.environ.get("AULLM_SCREENSHOTS"):
            size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}-{self.size[0]}.png").write_bytes(base64.b64decode(shot["data"]))

    def downloaded(self) -> pd.DataFrame:
        path = self.until(lambda: sorted(self.folder.glob("*_aus.csv")))[0]
        return pd.read_csv(io.BytesIO(path.read_bytes()))

    def strangers(self) -> list[str]:
        """Addresses the page asked for that are not the server's."""
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        ours = (self.address, "data:", "blob:", "chrome")  # chrome: the browser's own empty first page
        return [url for url in asked if not url.startswith(ours)]
