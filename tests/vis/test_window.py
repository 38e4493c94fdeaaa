"""The window: what its keys show, and that it shows it. It is drawn off-screen, by the same code."""

from dataclasses import replace

import numpy as np
import pytest

from pcclora.errors import PccloraError
from pcclora.vis import Camera, Tokens, palette, show
from pcclora.vis.window import SIZE, Window
from pcclora.vis.window_legend import MARGIN, WIDTH, draw_panel
from pcclora.vis.window_state import WindowState


def test_keys_choose_the_view(chair):
    state = WindowState([chair], Tokens(16, 16))
    seen = [state.view.name]
    for key in "GPETEC":
        state.press(key)
        seen.append(state.view.name)
    expected = ["prediction", "ground truth", "prediction", "errors", "tokens", "errors", "errors"]
    assert seen == expected  # there is no scan to see by C


def test_keys_choose_the_object_and_keep_the_view(chair):
    scan = np.zeros((600, 3), np.uint8)
    state = WindowState([chair, replace(chair, prediction=None, colors=scan), replace(chair, category="stool")])
    state.press("E")
    state.press("N")
    assert (state.number, state.view.name) == (1, "ground truth")  # without a prediction there are no errors
    state.press("N")
    assert (state.cloud.category, state.view.name) == ("stool", "errors")
    state.press("N")
    state.press("B")
    assert state.number == 2


def test_the_help_names_the_keys_that_do_something(chair):
    assert [key for key, _ in WindowState([chair, chair]).help()] == list("GPENBRQ")
    assert [key for key, _ in WindowState([replace(chair, prediction=None)]).help()] == list("RQ")


def test_nothing_to_show_is_refused():
    with pytest.raises(PccloraError, match="nothing to show"):
        WindowState([])


def test_a_cloud_of_which_nothing_is_known_is_shown_by_height(chair):
    plain = replace(chair, truth=None, prediction=None)
    heights = [WindowState([plain], up=up).view for up in ("y", "z")]
    assert [view.name for view in heights] == ["height", "height"]
    assert (heights[0].colours != heights[1].colours).any()


def test_without_a_display_there_is_one_clear_error(chair, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PccloraError, match="no display .* --png FILE, --html FILE"):
        show([chair])


def test_a_display_that_does_not_answer_is_one_clear_error(open3d, chair, monkeypatch, capfd):
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(PccloraError, match="does not answer.* --png FILE, --html FILE"):
        show([chair])
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def window(open3d, chair):
    window = Window(WindowState([chair, replace(chair, points=2 * chair.points)]), camera=Camera(), visible=False)
    yield window
    window.close()


def picture(window):
    window.visualizer.poll_events()
    window.place_panel()
    return (255 * np.asarray(window.visualizer.capture_screen_float_buffer(True))).round().astype(int)


def reddish(pixels):
    return (pixels[..., 0] - pixels[..., 1] > 100).sum()


def test_the_window_shows_what_the_keys_say(window):
    prediction = picture(window)
    assert prediction.shape == (*SIZE[::-1], 3)
    assert (prediction[:, WIDTH:] < 250).any(axis=2).mean() > 0.03
    window.press("E")
    errors = picture(window)
    assert reddish(errors[:, WIDTH:]) > 200 and reddish(errors[:, WIDTH:]) > 2 * reddish(prediction[:, WIDTH:])
    window.press("N")
    assert window.state.number == 1 and np.abs(picture(window)[:, WIDTH:] - errors[:, WIDTH:]).mean() < 1  # scaled


def test_the_legend_stays_where_it_is_while_the_object_turns(window):
    before = picture(window)
    window.visualizer.get_view_control().rotate(150, 60)
    window.visualizer.get_view_control().scale(-3)
    after = picture(window)
    panel = draw_panel(window.state)
    inside = (slice(1, panel.shape[0] - 1), slice(1, WIDTH - 1))
    for pixels in (before, after):
        assert np.abs(pixels[inside] - panel[inside]).mean() < 3
    assert np.abs(before[:, WIDTH:] - after[:, WIDTH:]).mean() > 3


def test_a_panel_has_the_legend(chair):
    panel = draw_panel(WindowState([chair]))
    for colour in palette.PARTS[: len(chair.parts)]:
        assert (panel[:, :WIDTH] == palette.rgb(colour)).all(axis=2).sum() > 20
    assert (panel[:, : MARGIN - 4] == 255)[:-1].all()
