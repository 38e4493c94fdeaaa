"""A run knows how its training scans lie, and says so where scans to be predicted lie otherwise."""

import json
import logging
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcclora.data import AXES, ProceduralConfig, ProceduralDataset, Subset, turn_upright
from pcclora.data.readers.up_axis import TURNS
from pcclora.errors import PccloraError
from pcclora.runs import orientation
from pcclora.runs.orientation import FILE, Orientation, describe, learn, warn_of_turned

CLOUD = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32) * [1, 2, 0.5]


@cache
def objects(split, count):
    return Subset(ProceduralDataset(ProceduralConfig(), split=split), range(count))


def written(dataset, up):
    """Upright clouds as they stand in files whose vertical axis is ``up``: the turn taken back."""
    return [dataset[index].points @ TURNS[up] for index in range(len(dataset))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    orientation.keep(objects("train", 320), folder)
    return folder


def said(run, clouds, caplog, *, up="y", names=None):
    """The warnings for clouds read from files, as though ``up`` were their vertical axis."""
    caplog.clear()
    names = names or [f"{n}.ply" for n in range(len(clouds))]
    with caplog.at_level(logging.WARNING, logger="pcclora"):
        warn_of_turned(run, [turn_upright(cloud, up) for cloud in clouds], names, up=up, option="--up {}")
    return caplog.messages


@given(st.floats(-180, 180), st.floats(1e-3, 1e3), st.floats(-5, 5))
def test_turns_about_the_vertical_axis_scale_and_place_change_nothing(angle, scale, shift):
    sin, cos = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    moved = scale * (CLOUD @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])) + scale * shift
    # a point at the edge of a height or a ring may change sides
    assert (
        np.abs(describe(moved) - describe(CLOUD)).max() < 0.2
        and np.median(np.abs(describe(moved) - describe(CLOUD))) < 1e-6
    )
    assert np.abs(describe(turn_upright(CLOUD, "z")) - describe(CLOUD)).max() > 0.2


@pytest.mark.parametrize(
    "cloud", [np.zeros((1, 3)), np.ones((50, 3)), np.eye(3) * 1e30, np.linspace(0, 1, 90).reshape(30, 3)]
)
def test_clouds_without_extent_have_numbers_too(cloud):
    numbers = describe(cloud.astype(np.float32))
    assert numbers.shape == (80,) and np.isfinite(numbers).all()


@pytest.mark.parametrize("up", ["z", "x"])
def test_a_turned_set_is_named_with_the_axis_that_fits(run, caplog, up):
    (message,) = said(run, written(objects("test", 12), up), caplog)
    assert message.startswith("12 of 12 files (as 0.ply): unlike the training scans, but like them with")
    assert message.endswith(f"if {up} is their vertical axis, say --up {up}")


@pytest.mark.parametrize("up", ["z", "x"])
def test_a_run_that_learned_from_lying_scans_is_told_apart_from_lying_scans(run, caplog, up):
    """Upright files, a run on files with another axis up that did not say so: seen from the run, the files lie."""
    clouds = [turn_upright(objects("test", 12)[n].points, up) for n in range(12)]
    (message,) = said(run, clouds, caplog)
    assert message.endswith(f"did the training scans have {up} up? Then train with data.up={up}")


@pytest.mark.parametrize("up", AXES)
def test_nothing_is_said_of_a_set_whose_axis_is_said_rightly(run, caplog, up):
    messages = said(run, written(objects("test", 12), up), caplog, up=up)
    assert not [m for m in messages if m.startswith("12 of 12")] and len(messages) <= 1


def test_a_turned_scan_among_upright_ones_is_named(run, caplog):
    held = Orientation.read(run / FILE)
    clouds = written(objects("test", 12), "y")
    odds = [held.by_guess(cloud @ TURNS["z"], "y") for cloud in clouds]
    clearest = int(np.argmax([own[2] - np.delete(own, 2).max() for own in odds]))
    clouds[clearest] = clouds[clearest] @ TURNS["z"]
    names = [f"scan_{n}\x1b[2J" for n in range(12)]
    messages = said(run, clouds, caplog, names=names)
    assert any(m.startswith(rf"scan_{clearest}\x1b[2J: unlike") and m.endswith("say --up z") for m in messages)


def test_what_is_kept_is_what_was_learned_and_damage_is_one_message(run, tmp_path):
    learned, kept = learn(objects("train", 320)), Orientation.read(run / FILE)
    for cloud in written(objects("test", 5), "z"):
        np.testing.assert_allclose(kept.by_guess(cloud, "y"), learned.by_guess(cloud, "y"), atol=0.01)
    held = json.loads((run / FILE).read_text())
    bad = [
        {},
        held | {"mean": "x"},
        held | {"turned": [[1.0]]},
        held | {"scale": held["scale"][1:]},
        held | {"upright": [1, [2]]},
    ]
    for content in bad:
        (tmp_path / FILE).write_text(json.dumps(content))
        with pytest.raises(PccloraError, match=f"{FILE}: .*without it nothing is said"):
            warn_of_turned(tmp_path, [CLOUD], ["a"], up="y", option="--up {}")


def test_a_single_class_is_learned_and_too_few_objects_are_not(tmp_path):
    chairs = Subset(objects("train", 320), [i for i in range(320) if objects("train", 320).labels[i] == 4])
    held = learn(chairs)
    assert held.upright.shape == held.turned.shape == (1, 81)
    clouds = written(Subset(objects("test", 160), [i for i in range(160) if objects("test", 160).labels[i] == 4]), "z")
    assert np.mean([np.argmax(held.by_guess(cloud, "y")) == 2 for cloud in clouds]) > 0.7
    orientation.keep(Subset(chairs, range(9)), tmp_path)
    assert not any(tmp_path.iterdir())
    warn_of_turned(tmp_path, [CLOUD], ["a"], up="y", option="--up {}")  # a run that knows nothing says nothing


def test_balls_fit_any_axis(caplog, tmp_path):
    """What has no up cannot be found out, and must not be said."""

    class Balls:
        holds, labels = "point clouds", np.zeros(40, np.int64)

        def __len__(self):
            return 40

        def __getitem__(self, index):
            points = np.random.default_rng(index).normal(size=(500, 3))
            return type("Sample", (), {"points": points / np.linalg.norm(points, axis=1, keepdims=True)})

    orientation.keep(Balls(), tmp_path)
    assert said(tmp_path, [Balls()[50 + n].points for n in range(12)], caplog) == []


@pytest.mark.slow
def test_the_figures_of_the_documentation(tmp_path, caplog):
    """Of the default run's training objects, on test objects: nothing was chosen on these."""
    orientation.keep(objects("train", 1600), tmp_path)
    clouds = {up: written(objects("test", 400), up) for up in ("y", "z")}
    alone = {up: [" ".join(said(tmp_path, [cloud], caplog)) for cloud in own] for up, own in clouds.items()}
    told = {up: np.mean([message != "" for message in messages]) for up, messages in alone.items()}
    right = np.mean([message.endswith("say --up z") for message in alone["z"] if message])
    rng = np.random.default_rng(0)
    fives = [rng.choice(400, 5, replace=False) for _ in range(200)]
    sets = {
        up: [" ".join(said(tmp_path, [own[n] for n in five], caplog)) for five in fives] for up, own in clouds.items()
    }
    together = {up: np.mean(["5 of 5" in message for message in messages]) for up, messages in sets.items()}
    figures = [told["z"], right, told["y"], together["z"], together["y"]]
    print("\nfound, right axis, false alarms; of sets of five: found, false alarms:", np.round(figures, 3))
    np.testing.assert_allclose(figures, [0.78, 0.95, 0.03, 1.0, 0.0], atol=0.02)
