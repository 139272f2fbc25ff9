"""The live page in a real browser, with a video file as its camera. Slow; needs what the demo's other test does."""

import cv2
import numpy as np
import pytest

from support.browser import DESK, PHONE, Visitor, served_demo
from support.videos import write_video

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(face_model, tmp_path_factory):
    """(address, folder for temporary files) of `aullm demo` with the checkpoint that comes with the package."""
    folder = tmp_path_factory.mktemp("server")
    with served_demo(folder, AULLM_FACE_MODEL=str(face_model)) as address:
        yield address, folder


@pytest.fixture(scope="module")
def cameras(photo, tmp_path_factory):
    """Name -> a file that the browser takes for a camera: a face, two, and nobody."""
    folder = tmp_path_factory.mktemp("cameras")
    face = cv2.resize(photo[:320, 60:487], (640, 480))
    two = cv2.resize(np.hstack([photo[:, 100:400], photo[:, 400:100:-1]]), (640, 480))
    pictures = {"face": face, "two": two, "nobody": np.full_like(face, 90)}
    return {
        name: write_video(folder / f"{name}.y4m", [picture] * 20, codec="wrapped_avframe", pixels="yuv420p", rate=20)
        for name, picture in pictures.items()
    }


@pytest.fixture
def visit(served, cameras, tmp_path):
    """Opens the live tab at a size, with a camera."""
    visitors = []

    def open_page(camera: str, size: tuple[int, int] = DESK) -> Visitor:
        flags = (f"--use-file-for-fake-video-capture={cameras[camera]}",)
        visitors.append(Visitor(served[0], size, tmp_path / str(len(visitors)), flags))
        return visitors[-1]

    yield open_page
    for visitor in visitors:
        visitor.driver.quit()


def open_live(visitor: Visitor) -> None:
    """By keyboard alone: the tab, then the button."""
    from selenium.webdriver import Keys

    visitor.tab_to(lambda stop: stop["text"] == "Live")
    visitor.press(Keys.ENTER)
    visitor.find("#live-start")
    visitor.tab_to(lambda stop: stop["id"] == "live-start")


def numbers(visitor: Visitor) -> list[str]:
    return visitor.run("return [...document.querySelectorAll('#live-aus b')].map(e => e.textContent)")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_start_see_named_aus_and_stop_by_keyboard(visit, served, size):
    from selenium.webdriver import Keys

    visitor = visit("face", size)
    open_live(visitor)
    assert "none is kept" in visitor.text("#live-message")
    visitor.picture("live-before")
    visitor.press(Keys.SPACE)
    visitor.until(lambda: "–" not in numbers(visitor), seconds=120)
    likely = [float(number) for number in numbers(visitor)]
    assert len(likely) == 18 and all(0 <= value <= 1 for value in likely)
    names = visitor.run("return [...document.querySelectorAll('#live-aus span')].map(e => e.textContent)")
    assert "AU12 Lip corner puller" in names
    visitor.until(lambda: "The face is followed" in visitor.text("#live-message"))
    assert "behind the camera" in visitor.text("#live-speed") and "updates a second" in visitor.text("#live-speed")
    assert visitor.run("return document.querySelector('.live-pictures img').naturalWidth") == 144
    drawn = (
        "const c = document.querySelector('#live-timeline');"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter(v => v).length"
    )
    visitor.until(lambda: visitor.run(drawn) > 1000)
    visitor.picture("live")
    print(
        {
            name: visitor.run(f"return document.querySelector('aullm-live').dataset.{name}")
            for name in ("rate", "behind")
        }
    )
    assert visitor.run("return document.documentElement.scrollWidth") <= size[0], "the page scrolls sideways"
    visitor.press(Keys.ESCAPE)
    assert visitor.text("#live-message") == "Stopped. Nothing was kept."
    assert visitor.run("return document.querySelector('aullm-live video').srcObject") is None
    visitor.press(Keys.SPACE)  # and again, by the same button
    visitor.until(lambda: "Stop" in visitor.text("#live-start"))
    visitor.until(lambda: "behind" in visitor.text("#live-speed"))
    visitor.press(Keys.SPACE)
    assert visitor.text("#live-start") == "Start the camera"
    assert [path for path in served[1].rglob("*") if path.is_file() and path.name != "log"] == [], "a file was written"
    assert visitor.strangers() == []


@pytest.mark.parametrize(
    ("camera", "said"), [("nobody", "There is no face in the picture"), ("two", "2 faces are in the picture")]
)
def test_no_face_and_too_many_are_told(visit, camera, said):
    visitor = visit(camera)
    open_live(visitor)
    visitor.click("#live-start")
    visitor.until(lambda: said in visitor.text("#live-message"), seconds=120)
    visitor.picture(f"live-{camera}")


def test_leaving_the_tab_stops_the_camera(visit):
    visitor = visit("nobody")
    open_live(visitor)
    visitor.click("#live-start")
    visitor.until(lambda: "behind" in visitor.run("return document.querySelector('#live-speed').innerText"))
    visitor.run("[...document.querySelectorAll('button[role=tab]')].find(b => b.innerText == 'Your clip').click()")
    visitor.until(lambda: visitor.run("return document.querySelector('aullm-live video').srcObject === null"))
