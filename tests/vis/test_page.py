"""The web page, in a real browser without a network: it opens, hides parts, changes colours, tells of a point.

Set PCCLORA_ARTEFACTS to a folder to have the screenshots there; else they are in build/artefacts.
"""

import base64
import gzip
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pcclora.data.sets.procedural.clouds import ProceduralConfig, ProceduralDataset
from pcclora.errors import PccloraError
from pcclora.metrics import part_ious
from pcclora.runs.segmented import ClassAnswer, SegmentedCloud
from pcclora.vis.camera import Camera
from pcclora.vis.page import write_page
from pcclora.vis.page_object import FRAME
from pcclora.vis.palette import SCALE
from pcclora.vis.views import views_of

ARTEFACTS = Path(os.environ.get("PCCLORA_ARTEFACTS", Path(__file__).resolve().parents[2] / "build" / "artefacts"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser_test = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: sudo apt-get install -y chromium"),
]
WITHOUT_GPU = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking"]
TITLE = "shapes & <b>parts</b>"
FAR = np.array([450_000.0, 5_400_000.0, 120.0])


def segmented(index: int) -> SegmentedCloud:
    """A procedural object with its true parts, and predictions of which some are wrong."""
    data = ProceduralDataset(ProceduralConfig(points=1024), split="test")
    sample = data[index]
    parts = data.parts.of_class[sample.label]
    rng = np.random.default_rng(index)
    logits = rng.normal(size=(1024, len(parts)))
    logits[np.arange(1024), np.searchsorted(parts, sample.part_labels)] += 2.5
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return SegmentedCloud(
        points=sample.points + FAR,
        category=data.class_names[sample.label],
        part_names=data.parts.names,
        parts=parts,
        truth=sample.part_labels,
        prediction=np.array(parts)[probabilities.argmax(axis=1)],
        probabilities=probabilities,
        colors=rng.integers(0, 256, (1024, 3)).astype(np.uint8),
        title=sample.path,
    )


CLOUDS = [segmented(0), segmented(2)]
CLASSIFIED = [
    SegmentedCloud(CLOUDS[0].points, "chair", answer=ClassAnswer((("bag", 0.81), ("chair", 0.19)), truth="chair")),
    SegmentedCloud(CLOUDS[1].points, "cap", answer=ClassAnswer((("cap", 0.99),), truth="cap")),
]
CAMERAS = "it.panes.map(({ world }) => world.camera.position.toArray())"


@pytest.fixture(scope="module")
def playwright():
    """What drives browsers."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def opened(playwright, tmp_path_factory):
    """The page of two objects in Chromium, and what the browser complained of or asked for."""
    target = tmp_path_factory.mktemp("page") / "page.html"
    write_page(CLOUDS, target, title=TITLE)
    heard: list[str] = []
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_GPU)
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    tab.context.set_offline(True)
    tab.on("console", lambda said: heard.append(f"{said.type}: {said.text}") if said.type == "error" else None)
    tab.on("pageerror", lambda error: heard.append(f"error: {error}"))
    tab.on("request", lambda asked: heard.append(f"request: {asked.url}"))
    tab.goto(target.as_uri())
    tab.evaluate("page.then((it) => { window.it = it; })")
    yield tab, heard
    browser.close()
    assert [said for said in heard if said.startswith("error")] == [], "after all that the tests did"


@pytest.fixture
def tab(opened):
    """The page as it is after loading."""
    page, _ = opened
    page.evaluate("() => { it.hidden.clear(); it.compare(false); it.choose(0); it.look('ground truth'); }")
    return page


def picture(tab, name: str):
    """(H, W, 3) pixels of the scene after what was asked for is drawn."""
    tab.mouse.move(1270, 710)
    tab.evaluate("it.panes[0].drawn()")
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=ARTEFACTS / f"page_{name}.png")
    return imread(ARTEFACTS / f"page_{name}.png")[:, :940, :3]


def ink(pixels, colour) -> int:
    """How many pixels have a hue, whatever the light on the ball."""
    rgb = np.asarray(colour, float)
    bright = pixels.max(axis=2, keepdims=True)
    same = np.abs(pixels / np.maximum(bright, 1e-6) - rgb / rgb.max()).max(axis=2) < 0.12
    return int((same & (bright[..., 0] > 0.2)).sum())


class TestInTheBrowser:
    pytestmark = browser_test

    def test_opens_without_an_error_and_without_a_network(self, opened):
        tab, heard = opened
        assert tab.title() == TITLE
        assert tab.inner_text("h1") == TITLE
        assert [said for said in heard if not re.match("request: (file|blob|data):", said)] == []
        assert sum(said.startswith("request: file:") for said in heard) == 1
        assert not tab.is_visible("#note")

    @pytest.mark.parametrize("view", ["scan", "ground truth", "prediction", "errors"])
    @pytest.mark.parametrize("number", [0, 1])
    def test_every_view_has_the_colours_of_the_pictures(self, tab, view, number):
        tab.select_option("#object", str(number))
        tab.get_by_role("radio", name=view).click()
        drawn = tab.evaluate("Array.from(it.panes[0].cloud.geometry.attributes.color.array)")
        expected = views_of(CLOUDS[number])[view].colours
        np.testing.assert_allclose(np.reshape(drawn, (-1, 3)), expected / 255, atol=1e-6)
        assert tab.locator("[role=radio][aria-checked=true]").get_attribute("aria-label") == view

    def test_a_click_on_the_legend_hides_a_part(self, tab):
        legend = views_of(CLOUDS[0])["ground truth"].legend
        before = picture(tab, "all")
        name, colour = legend[1]
        key = tab.locator(".key", has_text=name)
        key.click()
        after = picture(tab, "one_hidden")
        assert key.get_attribute("aria-pressed") == "false"
        assert ink(before, colour) > 500 > 20 > ink(after, colour)
        assert ink(after, legend[0][1]) > 500
        tab.click("#all")
        np.testing.assert_array_equal(picture(tab, "all"), before)

    def test_the_switch_changes_the_picture(self, tab):
        tab.keyboard.press("e")
        wrong = views_of(CLOUDS[0])["errors"].legend[1][1]
        assert ink(picture(tab, "errors"), wrong) > 100
        tab.keyboard.press("p")
        assert ink(picture(tab, "prediction"), wrong) < 20

    def test_a_part_stays_hidden_in_the_other_view(self, tab):
        tab.click(".key >> nth=0")
        tab.keyboard.press("p")
        kept = tab.evaluate("it.panes[0].kept")
        cloud = CLOUDS[0]
        assert sorted(kept) == np.flatnonzero(cloud.prediction != cloud.parts[0]).tolist()

    def test_tells_of_the_point_under_the_pointer(self, tab):
        cloud = CLOUDS[0]
        x, y, point = tab.evaluate(
            """() => { for (let y = 200; y < 600; y += 5) for (let x = 200; x < 800; x += 5) {
            const point = it.panes[0].pointAt(x, y); if (point >= 0) return [x, y, point]; } }"""
        )
        tab.mouse.move(x, y)
        tab.wait_for_selector("#hover", state="visible")
        told = tab.inner_text("#hover")
        name = views_of(cloud)["prediction"].legend[cloud.parts.index(cloud.prediction[point])][0]
        assert f"prediction: {name}" in told
        percents = [int(found) for found in re.findall(r"(\d+)%", told)]
        assert percents == (100 * cloud.probabilities[point]).round().astype(int).tolist()
        numbers = [float(found) for found in re.findall(r"-?\d+\.\d+", told.splitlines()[-1])]
        np.testing.assert_allclose(numbers, cloud.points[point], atol=6e-4)
        assert f"point {point} " in told

    def test_the_point_is_the_nearest_of_those_under_the_pointer(self, tab):
        """Against all points, projected by three.js itself."""
        found, depths = tab.evaluate(
            """() => { const position = it.panes[0].cloud.geometry.attributes.position;
            const point = it.panes[0].kept[0], vector = new it.panes[0].world.camera.position.constructor();
            const project = (i) => vector.fromBufferAttribute(position, i).project(it.panes[0].world.camera).clone();
            const at = project(point), box = document.querySelector('.canvas').getBoundingClientRect();
            const x = (at.x + 1) / 2 * box.width + box.left, y = (1 - at.y) / 2 * box.height + box.top;
            const apart = (p) => Math.hypot((p.x - at.x) * box.width, (p.y - at.y) * box.height) / 2;
            const near = it.panes[0].kept.map(project).filter((p) => apart(p) <= 3);
            return [project(it.panes[0].pointAt(x, y)).z, near.map((p) => p.z)]; }"""
        )
        assert found <= min(depths) + 1e-9

    def test_the_next_object_comes_with_its_own_parts(self, tab):
        tab.click("#next")
        assert tab.inner_text("#facts").startswith(CLOUDS[1].title)
        names = [entry.split("\n")[0] for entry in tab.locator(".key").all_inner_texts()]
        assert names == [name for name, _ in views_of(CLOUDS[1])["prediction"].legend]
        tab.keyboard.press("n")
        assert tab.inner_text("#facts").startswith(CLOUDS[0].title)

    def test_a_slow_machine_thins_a_moving_cloud(self, tab):
        tab.evaluate("it.panes[0].shares[0] = 0.25")
        tab.mouse.move(400, 300)
        tab.mouse.down()
        tab.mouse.move(450, 320)
        assert tab.evaluate("it.panes[0].cloud.geometry.drawRange.count") == 256
        tab.mouse.up()
        tab.wait_for_timeout(1000)
        assert tab.evaluate("it.panes[0].cloud.geometry.drawRange.count") == np.inf
        tab.evaluate("it.panes[0].shares[0] = 1")

    def test_the_truth_stands_beside_the_prediction_and_turns_with_it(self, tab):
        tab.get_by_role("radio", name="prediction").click()
        tab.keyboard.press("s")
        tab.locator(".label").nth(1).wait_for(state="visible")
        assert tab.locator(".label:visible").all_inner_texts() == ["ground truth", "prediction"]
        assert tab.get_by_role("radio", name="ground truth").count() == 0
        views = views_of(CLOUDS[0])
        for pane, view in enumerate(("ground truth", "prediction")):
            drawn = tab.evaluate(f"Array.from(it.panes[{pane}].cloud.geometry.attributes.color.array)")
            np.testing.assert_allclose(np.reshape(drawn, (-1, 3)), views[view].colours / 255, atol=1e-6)
        before = tab.evaluate(CAMERAS)
        tab.mouse.move(150, 300)
        tab.mouse.down()
        tab.mouse.move(260, 340, steps=4)
        tab.mouse.up()
        tab.wait_for_timeout(400)
        after = tab.evaluate(CAMERAS)
        np.testing.assert_allclose(after[0], after[1], atol=1e-3)
        assert np.abs(np.subtract(before, after)).max() > 0.1
        tab.screenshot(path=ARTEFACTS / "page_both.png")
        tab.keyboard.press("s")
        assert not tab.locator(".label").first.is_visible()

    def test_another_axis_is_turned_up(self, tab):
        ups = [tab.inner_text("#up").split()[0]]
        for _ in range(6):
            tab.keyboard.press("u")
            ups.append(tab.inner_text("#up").split()[0])
        assert ups == ["y", "z", "x", "-y", "-z", "-x", "y"]
        tab.click("#up")
        assert tab.evaluate("it.panes[0].world.camera.up.toArray()") == [0, 0, 1]
        for _ in range(5):
            tab.click("#up")

    def test_a_class_is_told_with_its_probabilities_and_seen_by_height(self, playwright, tmp_path):
        write_page(CLASSIFIED, tmp_path / "page.html", title="t", captions=["wrong", "right"])
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_GPU)
        tab = browser.new_page(color_scheme="dark", viewport={"width": 1280, "height": 720})
        tab.goto((tmp_path / "page.html").as_uri())
        tab.evaluate("page.then((it) => { window.it = it; })")
        assert tab.inner_text("#answer p") == "bag, truly chair"
        assert "81%" in tab.inner_text("#answer") and not tab.is_visible("#views") and not tab.is_visible("#both")
        assert tab.locator("optgroup").evaluate_all("all => all.map((own) => own.label)") == ["wrong", "right"]
        drawn = np.reshape(tab.evaluate("Array.from(it.panes[0].cloud.geometry.attributes.color.array)"), (-1, 3))
        np.testing.assert_allclose(drawn, views_of(CLASSIFIED[0])["height"].colours / 255, atol=0.006)
        pixels = picture(tab, "class_dark")
        assert pixels[5, 5].max() < 0.2  # dark where the reader's system is
        tab.keyboard.press("u")  # z is up now: the colours follow
        turned = np.reshape(tab.evaluate("Array.from(it.panes[0].cloud.geometry.attributes.color.array)"), (-1, 3))
        np.testing.assert_allclose(turned, views_of(CLASSIFIED[0], up="z")["height"].colours / 255, atol=0.006)
        browser.close()

    def test_a_phone_sees_the_whole_object_and_how_to_touch_it(self, playwright, tmp_path):
        write_page(CLASSIFIED, tmp_path / "page.html", title="t")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_GPU)
        tab = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
        tab.goto((tmp_path / "page.html").as_uri())
        tab.evaluate("page.then((it) => { window.it = it; })")
        inside = tab.evaluate(
            """() => { const { world, cloud } = it.panes[0], at = cloud.geometry.attributes.position;
            const vector = new world.camera.position.constructor();
            return it.panes[0].kept.every((i) => { const p = vector.fromBufferAttribute(at, i).project(world.camera);
            return Math.abs(p.x) < 1 && Math.abs(p.y) < 1; }); }"""
        )
        assert inside
        assert "pinch to zoom" in tab.inner_text("#help")
        help_, scene = (tab.locator(where).bounding_box() for where in ("#help", "#panes"))
        assert help_["y"] >= scene["y"] + scene["height"]  # below the points, not over them
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        browser.close()

    def test_a_browser_without_webgl_says_what_is_needed(self, playwright, tmp_path):
        write_page(CLOUDS, tmp_path / "page.html", title="t")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu", "--disable-3d-apis"])
        tab = browser.new_page()
        tab.goto((tmp_path / "page.html").as_uri())
        tab.get_by_text("WebGL and a browser").wait_for(state="visible")
        browser.close()


def unpacked(page: str) -> dict:
    """What the page's script is told."""
    return json.loads(gzip.decompress(base64.b64decode(re.search('id="details">([^<]+)<', page)[1])))


def test_numbers_are_of_all_points_also_where_fewer_are_drawn(tmp_path):
    cloud = CLOUDS[0]
    write_page([cloud], tmp_path / "page.html", title="t", max_points=100)
    (told,) = unpacked((tmp_path / "page.html").read_text())["objects"]
    ious = part_ious(cloud.truth, cloud.prediction, cloud.parts)
    assert "1,024 points, 100 of them drawn" in told["facts"]
    assert f"mean IoU {ious.mean():.1%}" in told["facts"]
    legend = next(view["legend"] for view in told["views"] if view["name"] == "prediction")
    assert [int(key["cells"][0]) for key in legend] == [(cloud.prediction == part).sum() for part in cloud.parts]
    assert [key["cells"][1] for key in legend] == [f"{iou:.1%}" for iou in ious]
    assert len(told["numbers"]) == 100 == len(set(told["numbers"]))


def test_a_part_that_is_neither_there_nor_predicted_is_called_absent(tmp_path):
    cloud = CLOUDS[0]
    first = np.full(1024, cloud.parts[0])
    write_page([replace(cloud, truth=first, prediction=first)], tmp_path / "page.html", title="t")
    (told,) = unpacked((tmp_path / "page.html").read_text())["objects"]
    cells = [key["cells"] for key in told["views"][-2]["legend"]]
    assert cells == [["1,024", "100.0%"]] + [["0", "absent"]] * (len(cloud.parts) - 1)


def test_a_scan_without_truth_has_one_switch_less(tmp_path):
    write_page([replace(CLOUDS[0], truth=None, colors=None)], tmp_path / "page.html", title="t")
    (told,) = unpacked((tmp_path / "page.html").read_text())["objects"]
    assert [view["name"] for view in told["views"]] == ["prediction"]
    assert "mean confidence" in told["facts"]


def test_the_same_objects_are_the_same_page_but_for_k3d_numbers(tmp_path):
    told = []
    for name in ("a", "b"):
        write_page(CLOUDS, tmp_path / name, title="t")
        told.append([{**entry, "id": 0} for entry in unpacked((tmp_path / name).read_text())["objects"]])
    assert told[0] == told[1]


def test_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(PccloraError, match="no object"):
        write_page([], tmp_path / "page.html", title="t")
    assert not list(tmp_path.iterdir())


def test_a_cloud_of_which_nothing_is_known_is_shown_by_height(tmp_path):
    write_page([SegmentedCloud(CLOUDS[0].points, "thing")], tmp_path / "page.html", title="t")
    (told,) = unpacked((tmp_path / "page.html").read_text())["objects"]
    (view,) = told["views"]
    assert (view["name"], view["scale"], view["colours"], told["parts"]) == ("height", list(SCALE), None, [])


def test_objects_are_told_with_the_class_that_a_run_answered(tmp_path):
    likely = tuple((f"class {n}", 0.1 * (7 - n)) for n in range(7))
    cloud = replace(CLASSIFIED[0], answer=ClassAnswer(likely, truth="class 3"))
    write_page([cloud], tmp_path / "page.html", title="t", captions=["surest"])
    (told,) = unpacked((tmp_path / "page.html").read_text())["objects"]
    assert (told["name"], told["caption"]) == ("class 0 (70%), truly class 3", "surest")
    assert (told["answer"]["truth"], told["answer"]["wrong"], len(told["answer"]["likely"])) == ("class 3", True, 5)
    assert told["answer"]["likely"][1] == {"name": "class 1", "percent": 60.0}


@pytest.mark.parametrize("up", ["+x", "-x", "+y", "-y", "+z", "-z"])
def test_every_axis_can_be_turned_up(up, tmp_path):
    """All points are in the frame, the axis points upwards in it, and the eye stands above the middle."""
    cloud = replace(CLOUDS[0], points=CLOUDS[0].points * [1, 2, 3])
    write_page([cloud], tmp_path / "page.html", title="t")
    page = unpacked((tmp_path / "page.html").read_text())
    told = page["objects"][0]
    eye, target, upward = np.reshape(told["cameras"][up], (3, 3))
    assert page["up"] == "+y" and (target == 0).all()
    assert upward["xyz".index(up[1])] == (1 if up[0] == "+" else -1) and eye @ upward > 0
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, upward) / np.linalg.norm(np.cross(forward, upward))
    seen = (cloud.points - told["centre"]) / told["radius"] - eye
    slope = np.tan(np.radians(Camera.field) / 2)
    depth = seen @ forward
    assert (depth > 0).all() and (np.abs(seen @ np.cross(right, forward)) <= slope * depth).all()
    assert (np.abs(seen @ right) <= slope * FRAME[0] / FRAME[1] * depth).all()


@pytest.mark.parametrize("count", [500, 2000, 8000])
def test_balls_just_about_touch_whatever_the_number_of_points(count, tmp_path):
    """On a square, against the spacing of a grid of as many points."""
    points = np.random.default_rng(0).uniform(-1, 1, (count, 3)) * [1, 1, 0]
    write_page([SegmentedCloud(points, "square")], tmp_path / "page.html", title="t")
    (told,) = unpacked((tmp_path / "page.html").read_text())["objects"]
    assert 0.6 < told["size"] * told["radius"] / (2 / np.sqrt(count)) < 1.5


def test_without_k3d_the_pip_line_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "k3d", None)
    with pytest.raises(PccloraError, match=r"pip install 'pcclora\[html\]'"):
        write_page(CLOUDS, tmp_path / "page.html", title="t")
    assert not list(tmp_path.iterdir())
