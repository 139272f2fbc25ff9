"""The demo page in a real browser, as a visitor: upload, record, keyboard alone, a phone's width. Slow.

Needs Gradio (the extra `demo`), selenium (the extra `test`) and Debian's packages chromium and chromium-driver. With
AULLM_SCREENSHOTS set to a folder, what the browser shows is saved there, to be looked at.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from aullm_hf.inference import AUDetector
from support.browser import DESK, PHONE, Visitor, served_demo
from support.videos import noise, write_video

pytestmark = pytest.mark.slow

# What stands in the clip's frame and reaches beyond it, so that a part of it cannot be seen.
INSIDE_CLIP = """
const frame = document.querySelector('#clip').getBoundingClientRect();
return [...document.querySelectorAll('#clip button, #clip video')].filter(e => e.checkVisibility()).filter(e => {
  const r = e.getBoundingClientRect();
  return r.bottom > frame.bottom + 1 || r.right > frame.right + 1;
}).map(e => e.outerHTML.slice(0, 80));
"""


@pytest.fixture(scope="module")
def served(checkpoint, tmp_path_factory):
    """(address, folder for temporary files) of `aullm demo` in a process of its own."""
    folder = tmp_path_factory.mktemp("server")
    with served_demo(folder, "--model", checkpoint, "--max_mb", "1") as address:
        yield address, folder


@pytest.fixture
def visit(served, tmp_path):
    """Opens the page at a size; every browser is closed at the end."""
    visitors = []

    def open_page(size: tuple[int, int] = DESK) -> Visitor:
        visitors.append(Visitor(served[0], size, tmp_path))
        return visitors[-1]

    yield open_page
    for visitor in visitors:
        visitor.driver.quit()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    frames = [frame[:, :, None].repeat(3, axis=2) for frame in noise(20, 32, 32)]
    return write_video(tmp_path_factory.mktemp("clips") / "smile.mp4", frames, rate=50, codec="libx264",
                       pixels="yuv420p", crf="5")  # fmt: skip


def uploads(folder: Path) -> list[Path]:
    """Files that visitors sent and that still lie on the server's disk."""
    return [path for path in folder.rglob("*") if path.suffix in (".mp4", ".webm", ".avi") and path.is_file()]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_upload_a_clip_see_named_aus_download_the_table(visit, served, clip, checkpoint, size):
    visitor = visit(size)
    assert "Not for deception detection, hiring, policing" in visitor.text("#not-for")
    visitor.picture("start")
    visitor.find("#clip input[type=file]").send_keys(str(clip))
    visitor.until(lambda: visitor.driver.find_elements("css selector", "#clip video"))
    assert uploads(served[1])
    assert visitor.run(INSIDE_CLIP) == [], "what the clip's frame holds is cut off"
    visitor.picture("loaded")
    visitor.click("#send")
    visitor.find("#download")
    visitor.picture("uploaded")
    detector = AUDetector(checkpoint)
    row = detector.rows(list(detector.read(clip))).iloc[0]
    table = visitor.text("#result table")
    for label, name in {"AU1": "Inner brow raiser", "AU4": "Brow lowerer", "AU12": "Lip corner puller"}.items():
        assert f"{label} {name}" in table and f"{row[f'p_{label}']:.2f}" in table
    assert "zygomaticus major" in table
    pictures = visitor.run("return [...document.querySelectorAll('#result img')].map(i => [i.alt, i.naturalWidth])")
    assert len(pictures) == 3 and all(alt and width > 100 for alt, width in pictures)
    assert min(visitor.run("return [...document.querySelectorAll('#result img.picture')].map(i => i.width)")) >= 345
    visitor.click("#download")
    got = visitor.downloaded()
    np.testing.assert_allclose(got["probability"], [row[f"p_{label}"] for label in detector.labels], rtol=1e-6)
    assert not uploads(served[1]), "the clip is still there"
    assert visitor.run("return document.documentElement.scrollWidth") <= size[0], "the page scrolls sideways"
    assert visitor.strangers() == []


def test_make_a_video_and_watch_it(visit, served, clip):
    visitor = visit()
    visitor.find("#clip input[type=file]").send_keys(str(clip))
    visitor.until(lambda: visitor.driver.find_elements("css selector", "#clip video"))
    visitor.click("#watch")
    visitor.find("#watched")
    visitor.until(lambda: visitor.run("return document.querySelector('#watched').videoWidth") == 32)
    visitor.click("#download-video")
    visitor.until(lambda: sorted(visitor.folder.glob("smile_watch.mp4")))
    visitor.picture("watch")
    assert not uploads(served[1]), "the clip is still there"


def test_by_keyboard_alone_on_a_phone(visit):
    from selenium.webdriver import Keys

    visitor = visit(PHONE)
    visitor.tab_to(lambda stop: "Video" in stop["text"] and stop["tag"] == "BUTTON")  # Enter opens the file chooser
    visitor.tab_to(lambda stop: stop["id"] == "send")
    visitor.driver.refresh()
    visitor.find("#send")
    visitor.tab_to(lambda stop: stop["text"] == "Your clip")
    visitor.press(Keys.TAB)
    assert visitor.focused()["text"] == "An example"
    visitor.press(Keys.ENTER)
    visitor.tab_to(lambda stop: stop["type"] == "radio" and stop["value"].startswith("Recording"))
    visitor.press(Keys.SPACE)
    visitor.tab_to(lambda stop: stop["id"] == "try")
    visitor.picture("keyboard")
    visitor.press(Keys.ENTER)
    visitor.find("#download")
    visitor.until(lambda: visitor.focused()["tag"] == "H2")  # the answer is in view and the keyboard is there
    visitor.tab_to(lambda stop: stop["id"] == "download", most=2)
    visitor.press(Keys.ENTER)
    got = visitor.downloaded()
    assert got["clip"].nunique() > 5 and set(got["au"]) == {"AU1", "AU4", "AU12"}
    assert visitor.run("return !!document.querySelector('#result img[alt*=\"over time\"]')")
    visitor.picture("recording")
    assert visitor.run("return document.documentElement.scrollWidth") <= PHONE[0]


def test_a_bad_upload_is_answered_in_words(visit, served, tmp_path):
    visitor = visit()
    path = tmp_path / "notes.mp4"
    path.write_text("this is no video")
    visitor.click("#send")
    visitor.until(lambda: "There is no clip yet" in visitor.text("[role=alert].au-error"))
    visitor.find("#clip input[type=file]").send_keys(str(path))
    visitor.until(lambda: uploads(served[1]))
    visitor.until(lambda: not visitor.driver.find_elements("css selector", ".au-error"))  # there is a clip now
    time.sleep(1)  # until the page knows what was sent
    visitor.click("#send")
    visitor.until(lambda: "is no readable video" in visitor.text("[role=alert].au-error"))
    visitor.picture("refused")
    assert not uploads(served[1])


def test_what_is_too_large_never_arrives(visit, served, tmp_path):
    visitor = visit()
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        file.truncate(3_000_000)
    visitor.find("#clip input[type=file]").send_keys(str(path))
    visitor.until(lambda: "maximum allowed size" in visitor.run("return document.body.innerText").lower())
    time.sleep(0.5)  # it slides in
    visitor.picture("too-large")
    assert not uploads(served[1])


def test_record_a_clip(visit, served):
    visitor = visit()
    visitor.click("button[aria-label='Capture from camera'], button[aria-label*='ebcam']")
    visitor.until(
        lambda: [b for b in visitor.driver.find_elements("css selector", "#clip button") if b.is_displayed()]
    )
    visitor.picture("camera")
    press_what_says = (
        "const named = b => (b.innerText + ' ' + b.ariaLabel + ' ' + b.title).toLowerCase();"
        "const all = [...document.querySelectorAll('#clip button')].filter(b => b.checkVisibility() && !b.disabled);"
        "const button = all.find(b => named(b).includes(arguments[0])); if (button) button.click(); return !!button"
    )
    for words, seconds in (("webcam", 1.5), ("record", 5), ("stop", 1.5)):  # a busy machine films a frame a second
        visitor.until(lambda words=words: visitor.run(press_what_says, words), seconds=30)
        time.sleep(seconds)
    visitor.until(lambda: uploads(served[1]), seconds=30)
    time.sleep(1)
    visitor.click("#send")
    visitor.find("#download")
    visitor.picture("recorded")
    assert "AU12 Lip corner puller" in visitor.text("#result table")
    assert not uploads(served[1])
