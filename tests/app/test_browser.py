"""The application in a real browser without a screen: label, undo, predict, adapt, and see the colours change.

Set PCCLORA_ARTEFACTS to a folder to have the screenshots there; else they are in build/artefacts.
"""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pcclora.app.labels import UNLABELLED, LabelFolder
from pcclora.app.serving import LOCAL, start_server
from pcclora.app.session import Session
from pcclora.app.window import Window
from pcclora.vis.palette import part_colours
from tests.app.conftest import made, write_scans

ARTEFACTS = Path(os.environ.get("PCCLORA_ARTEFACTS", Path(__file__).resolve().parents[2] / "build" / "artefacts"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WITHOUT_GPU = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking"]
PARTS = ("back", "seat", "leg", "arm")
PATIENCE = 60  # seconds; a loaded machine draws slowly
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: sudo apt-get install -y chromium"),
]


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A session on four chairs, behind the guard."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    session = Session(write_scans(tmp_path / "scans", "chair", 4), LabelFolder(tmp_path / "labels"))
    server, address = start_server(LOCAL, 0, label="pcclora")
    settings = ["points=256", "train.batch_size=2"]
    yield session, Window(server, session, settings=settings), address
    server.stop()


@pytest.fixture
def tab(served):
    """The page, and what the browser complained of."""
    from playwright.sync_api import sync_playwright

    heard: list[str] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_GPU)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda said: heard.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(served[2])
        page.get_by_text("no class yet").wait_for()
        picture(page, "start", lambda pixels: (pixels != pixels[-1, 0]).any(axis=2).mean() > 0.01)  # the cloud is drawn
        yield page
        browser.close()
    assert heard == []


def until(true, what: str, *, patience: float = PATIENCE) -> None:
    """Wait for what the browser causes here."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def picture(page, name: str, true=lambda pixels: True) -> np.ndarray:
    """(H, W, 3) pixels of the page without the panel, as soon as they are as they should be: drawing takes its time."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + PATIENCE
    while True:
        page.wait_for_timeout(500)
        page.screenshot(path=ARTEFACTS / f"app_{name}.png")
        pixels = imread(ARTEFACTS / f"app_{name}.png")[:, :930, :3]
        if true(pixels):
            return pixels
        assert time.monotonic() < end, f"app_{name}.png"


def ink(pixels: np.ndarray, colour) -> int:
    """How many pixels have a hue, whatever the light on the ball."""
    bright = pixels.max(axis=2, keepdims=True)
    wanted = np.asarray(colour, float) / np.max(colour)
    same = np.abs(pixels / np.maximum(bright, 1e-6) - wanted).max(axis=2) < 0.1
    return int((same & (bright[..., 0] > 0.2)).sum())


def field(page, label: str, text: str):
    """Write into a field of the panel."""
    box = page.get_by_text(label, exact=True).locator("xpath=following::input[1]")
    box.fill(text)
    box.press("Enter")
    return box


def name(page, label: str, text: str) -> None:
    """Write a new name, and wait until the field takes the next one."""
    from playwright.sync_api import expect

    expect(field(page, label, text)).to_have_value("", timeout=PATIENCE * 1000)


def test_label_by_clicks_and_rectangles_predict_and_adapt(served, tab):
    session, window, _ = served
    name(tab, "New class", "chair")
    until(lambda: session.now.category == "chair", "the class is made")
    for part in PARTS:
        name(tab, "New part", part)
        until(lambda part=part: part in session.parts, f"{part} is made")

    tab.mouse.click(640, 330)  # on the chair's back, wherever exactly
    until(lambda: session.selected.any(), "a click selects")
    piece = session.selected.copy()
    assert len(np.unique(session.pieces[piece])) == 1
    picture(tab, "selected", lambda pixels: ink(pixels, (255, 0, 200)) > 200)

    tab.keyboard.press("1")
    until(lambda: (session.now.labels == 0).any(), "a key gives a part")
    assert np.array_equal(session.now.labels == 0, piece)
    colours = part_colours(4)
    blue = ink(picture(tab, "labelled", lambda pixels: ink(pixels, colours[0]) > 200), colours[0])

    tab.keyboard.down("Shift")
    tab.mouse.move(420, 560)
    tab.mouse.down()
    tab.mouse.move(560, 600, steps=5)
    tab.mouse.move(800, 720, steps=5)
    tab.mouse.up()
    tab.keyboard.up("Shift")
    until(lambda: session.selected.any(), "a rectangle selects")
    assert not np.array_equal(session.selected, piece)
    picture(tab, "rectangle")
    tab.get_by_role("button", name="3 leg").click()
    until(lambda: (session.now.labels == 2).any(), "a button gives a part")
    picture(tab, "leg", lambda pixels: ink(pixels, colours[2]) > 200)

    tab.keyboard.press("Control+z")
    until(lambda: not (session.now.labels == 2).any(), "undone")
    tab.keyboard.press("Control+z")
    until(lambda: (session.now.labels == UNLABELLED).all(), "all undone")
    picture(tab, "undone", lambda pixels: ink(pixels, colours[0]) < blue / 10)
    tab.keyboard.press("Control+Shift+z")
    until(lambda: (session.now.labels == 0).any(), "done again")
    assert np.array_equal(LabelFolder(session.labels.root).find(session.scan).labels == 0, piece)

    for index, (_, parts) in enumerate(made("chair", 4)[:3]):  # three scans by the session itself: clicks take time
        with window.frame.lock:
            session.open(index)
            session.set_category("chair")
            for part in np.unique(parts):
                session.select(parts == part)
                session.assign(int(part))
            window.refresh()
    assert session.labels.finished() == {"chair": 3}
    tab.keyboard.press("n")
    until(lambda: session.index == 3, "the next scan")

    tab.get_by_role("tab", name="Adapt").click()
    field(tab, "Epochs", "2")
    tab.get_by_role("button", name="Adapt").click()
    until(lambda: window.adapting.running, "it trains")
    picture(tab, "adapting")
    until(lambda: not window.adapting.running, "it is trained and used", patience=10 * PATIENCE)
    (run,) = session.runs.values()
    assert (run.task, run.classes, run.parts["chair"][0]) == ("partseg", ("chair",), "chair: back")
    predicted = session.predictions[session.paths[3], next(iter(session.runs))]
    common = np.bincount(predicted.labels).argmax()
    picture(tab, "predicted", lambda pixels: ink(pixels, colours[common]) > 500)

    tab.get_by_role("tab", name="Label").click()
    tab.get_by_role("button", name="run", exact=True).click()
    until(lambda: session.now.category == "chair" and (session.now.labels != UNLABELLED).all(), "it is proposed")
    assert not session.now.finished
    picture(tab, "proposed")
    tab.keyboard.press("d")
    until(lambda: session.now.finished, "done")
    assert session.labels.finished() == {"chair": 4}
