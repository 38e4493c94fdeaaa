"""Corruptions: what the sources define, the same everywhere, each severity worse than the one before."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator
from scipy.special import binom

from pcclora.data import ProceduralConfig, ProceduralDataset, normalize_unit_sphere
from pcclora.data.clouds import Clouds
from pcclora.data.corruptions import noise, shape
from pcclora.data.corruptions.dataset import Corrupted
from pcclora.data.corruptions.scene import Scene
from pcclora.data.corruptions.table import CORRUPTIONS, SETS, SEVERITIES, check_severities, corrupt, find_corruptions
from pcclora.data.transforms import stream
from pcclora.errors import PccloraError

DATASET = ProceduralDataset(ProceduralConfig(train=8, test=8, points=2048), split="test")
STORED = DATASET[3].points
CLOUD = STORED[:1024]
NAMES = pytest.mark.parametrize("name", CORRUPTIONS)


def spoilt(name, severity=3, **key):
    return corrupt(CLOUD, STORED, name=name, severity=severity, **key)


def rows(points):
    """Points as a set: rounded, so that the same point is the same after it was scaled and put back."""
    return Counter(map(tuple, np.round(points, 4).tolist()))


@given(st.sampled_from(sorted(CORRUPTIONS)), st.sampled_from(SEVERITIES), *[st.integers(0, 2**31)] * 2)
def test_a_pure_function_of_seed_name_severity_and_index(name, severity, seed, index):
    np.random.seed(seed % 1000)  # the global state must not matter
    before = CLOUD.copy()
    first = spoilt(name, severity, seed=seed, index=index)
    np.testing.assert_array_equal(first, spoilt(name, severity, seed=seed, index=index))
    np.testing.assert_array_equal(CLOUD, before)
    assert first.dtype == np.float32 and np.isfinite(first).all() and first.shape[1] == 3


@NAMES
def test_another_seed_severity_or_index_is_another_draw(name):
    draws = [spoilt(name), spoilt(name, seed=1), spoilt(name, index=1), spoilt(name, 4)]
    assert len({draw.tobytes() for draw in draws}) == 4


COUNTS = {  # of 1,024 points, as the released files of ModelNet40-C and ModelNet-C have them
    "upsampling": [1228, 1280, 1365, 1536, 2048],
    "background": [1046, 1049, 1053, 1058, 1075],
    "density_dec": [949, 874, 799, 724, 649],
    "density_inc": [1024] * 5,
    "cutout": [964, 934, 874, 814, 724],
    "occlusion": [1024] * 5,
    "lidar": [768] * 5,
    "dropout_global": [768, 640, 512, 384, 256],
    "dropout_local": [924, 824, 724, 624, 524],
}


@NAMES
def test_the_number_of_points_is_that_of_the_source_for_every_cloud(name):
    found = [
        {len(spoilt(name, severity, index=i)) for i in range(3)} | {len(corrupt(CLOUD, name=name, severity=severity))}
        for severity in SEVERITIES
    ]
    assert all(len(counts) == 1 for counts in found), "clouds of one corruption fit into one batch"
    if name in COUNTS:
        assert [counts.pop() for counts in found] == COUNTS[name]


@NAMES
@pytest.mark.parametrize("count", [1, 12, 300])
def test_small_clouds_survive(name, count):
    for severity in SEVERITIES:
        assert len(corrupt(STORED[:count], name=name, severity=severity)) > 0


@NAMES
def test_place_and_size_do_not_matter(name):
    """What is done to a cloud in metres, far away, is what is done to it in the unit sphere."""
    moved = corrupt(40 * CLOUD + 7, 40 * STORED + 7, name=name, severity=4)
    np.testing.assert_allclose((moved - 7) / 40, spoilt(name, 4), atol=2e-4)


MISSING = ["density_dec", "cutout", "dropout_global", "dropout_local", "crop"]


@pytest.mark.parametrize("name", MISSING)
def test_what_only_takes_away_moves_nothing(name):
    assert not rows(spoilt(name, 5)) - rows(CLOUD)


@pytest.mark.parametrize("name", ["outliers", "shell"])
def test_what_only_adds_leaves_the_cloud(name):
    found = spoilt(name, 5)
    np.testing.assert_allclose(found[:1024], CLOUD, atol=1e-6)
    radius = np.linalg.norm(found[1024:], axis=1)
    own = np.linalg.norm(CLOUD, axis=1)
    low, high = (1.3 * own.min(), 1.6 * own.max()) if name == "outliers" else (0.9, 0.9 + 0.6)
    assert (radius > low - 1e-4).all() and (radius < high + 1e-4).all()


def test_density_grows_in_patches():
    """Where the patches are all stored points stay, and there are stored twice as many as are seen."""
    few, many = (rows(spoilt("density_inc", severity)) for severity in (1, 5))
    assert not many - rows(np.repeat(STORED, 9, axis=0))
    once = [sum(1 for times in held.values() if times == 1) for held in (few, many)]
    assert once[1] > once[0], "a point of a patch is there once; of the rest some repeat"


@pytest.mark.parametrize(("name", "level"), [("uniform", 0.05), ("gaussian", 0.03)])
def test_noise_has_the_strength_that_its_source_has(name, level):
    """Up to the scale that the cube gives."""
    found = np.concatenate([spoilt(name, 5, index=i) for i in range(40)]).reshape(40, 1024, 3)
    residuals = []
    for cloud in found:
        design = np.column_stack([cloud.astype(np.float64), np.ones(1024)])
        residuals.append(CLOUD - design @ np.linalg.lstsq(design, CLOUD, rcond=None)[0])
    expected = level / np.sqrt(3) if name == "uniform" else level
    assert np.std(residuals) == pytest.approx(expected, rel=0.05)


def test_impulses_move_one_point_of_ten_by_a_tenth_along_each_axis(monkeypatch):
    monkeypatch.setattr(noise, "in_cube", lambda points: points)
    moved = np.abs(noise.impulse(Scene(CLOUD.astype(float), STORED), 10, stream(0)) - CLOUD)
    np.testing.assert_allclose(np.sort(moved.ravel()), [0.0] * 3 * 922 + [0.1] * 3 * 102, atol=1e-12)


def _cubed(points):
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - (low + high) / 2) * (2 / (high - low).max())


@pytest.mark.parametrize("name", ["uniform", "background", "occlusion", "rotation", "shear", "scale", "distortion"])
def test_it_fills_the_cube_where_modelnet40_c_does(name):
    found = corrupt(normalize_unit_sphere(CLOUD), name=name, severity=3)
    np.testing.assert_allclose(np.ptp(found, axis=0).max(), 2, atol=1e-5)
    np.testing.assert_allclose(found.min(axis=0) + found.max(axis=0), 0, atol=1e-5)


def test_a_rotation_turns_about_each_axis_by_its_angle():
    """The change of the cloud is a rotation whose angle lies between those that the severity allows."""
    for index in range(20):
        found = spoilt("rotation", 5, index=index).astype(np.float64)
        matrix = np.linalg.lstsq(CLOUD - CLOUD.mean(axis=0), found - found.mean(axis=0), rcond=None)[0]
        matrix /= np.cbrt(np.linalg.det(matrix))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-4)
        angle = np.degrees(np.arccos((np.trace(matrix) - 1) / 2))
        assert 12.5 < angle < 17.5 * 3


def test_a_shear_leaves_heights():
    found = spoilt("shear", 5)
    assert np.corrcoef(found[:, 1], CLOUD[:, 1])[0, 1] == pytest.approx(1)
    assert not np.isclose(np.corrcoef(found[:, 0], CLOUD[:, 0])[0, 1], 1, atol=1e-3)


def test_free_form_deformation_is_that_of_its_definition():
    moves = 0.3 * (2 * stream(5)(375).reshape(3, 5, 5, 5) - 1)
    points = CLOUD[:50].astype(np.float64)
    expected = points.copy()
    for n, (s, t, u) in enumerate((points + 1) / 2):
        for i, j, k in np.ndindex(5, 5, 5):
            weight = 1.0
            for place, value in ((i, s), (j, t), (k, u)):
                weight *= binom(4, place) * value**place * (1 - value) ** (4 - place)
            expected[n] += 2 * weight * moves[:, i, j, k]
    found = shape.distortion(Scene(points, points), 0.3, stream(5))
    np.testing.assert_allclose(found, _cubed(expected), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "kernel"), [("distortion_rbf", "multiquadric"), ("distortion_rbf_inv", "inverse_multiquadric")]
)
def test_radial_basis_deformation_is_scipys(name, kernel):
    around, level = np.pi * (2 * stream(5)(250).reshape(2, -1) - 1)
    move = 0.1 * np.stack([np.cos(around) * np.sin(level), np.sin(around) * np.sin(level), np.cos(level)], axis=1)
    axis = np.linspace(-1, 1, 5)
    grid = np.array([(x, y, z) for x in axis for y in axis for z in axis])
    points = CLOUD[:50].astype(np.float64)
    interpolated = RBFInterpolator(grid, grid + move, kernel=kernel, epsilon=2, degree=1)(points)
    found = CORRUPTIONS[name].change(Scene(points, points), 0.1, stream(5))
    np.testing.assert_allclose(found, _cubed(interpolated), atol=1e-8)


def _ball(count=20000):
    """Points on a sphere: of these a sensor sees what faces it, and nothing else."""
    normals = np.random.default_rng(0).normal(size=(count, 3))
    return (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("name", "lowest", "highest"), [("occlusion", 30, 60), ("lidar", 22.5, 22.5)])
def test_a_sensor_looks_from_above_and_sees_one_side(name, lowest, highest):
    """y is up: the middle of what is seen is above the horizon, whatever the sector."""
    ball, turns = _ball(), []
    for severity in SEVERITIES:
        found = corrupt(ball[:1024], ball, name=name, severity=severity)
        view = found.mean(axis=0) if name == "lidar" else _outward(found)
        elevation = np.degrees(np.arcsin(view[1] / np.linalg.norm(view)))
        assert lowest - 6 < elevation < highest + 6
        turns.append(np.degrees(np.arctan2(view[2], view[0])) % 360)
    middles = 72 * np.array(SEVERITIES)
    apart = (np.array(turns) - middles + 180) % 360 - 180
    assert (np.abs(apart) < 40).all(), "each severity has its sector"


def _outward(cap):
    """The direction that a cap of a ball faces: along it the cap is thinnest."""
    centred = cap - cap.mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][2]
    skew = ((centred @ normal) ** 3).mean()
    return normal if skew < 0 else -normal


def test_a_lidar_sees_lines_a_degree_apart():
    ball = _ball()
    found = corrupt(ball[:1024], ball, name="lidar", severity=2).astype(np.float64)
    best = np.inf
    for turn in np.radians(np.linspace(108, 180, 721)):  # where it stands is drawn: try them all
        view = 5 * np.array([np.cos(np.pi / 8) * np.cos(turn), np.sin(np.pi / 8), np.cos(np.pi / 8) * np.sin(turn)])
        x, y, z = (found - view).T
        angle = np.degrees(np.arctan2(np.hypot(x, z), y))
        off = (angle - angle[0] + 0.5) % 1 - 0.5
        best = min(best, np.abs(off).max())
    assert best < 0.05


def test_each_severity_takes_more():
    for name in ("uniform", "gaussian", "distortion", "distortion_rbf", "scale", "shear"):
        moved = [
            np.mean(
                [
                    np.abs(
                        spoilt(name, s, index=i) - _cubed(CLOUD) * (name != "gaussian") - CLOUD * (name == "gaussian")
                    ).mean()
                    for i in range(8)
                ]
            )
            for s in SEVERITIES
        ]
        assert moved[0] < moved[2] < moved[4], name


def test_names_are_found_in_the_order_of_the_table():
    assert len(SETS["modelnet40-c"]) == 15 and find_corruptions(["all"]) == tuple(CORRUPTIONS)
    assert find_corruptions(["shear", "uniform", "shear"]) == ("uniform", "shear")
    assert check_severities([5, 1, 1]) == (1, 5)
    with pytest.raises(PccloraError, match="unknown corruption 'oclusion'; did you mean 'occlusion'"):
        find_corruptions(["oclusion"])
    with pytest.raises(PccloraError, match="severity 0, 6: choose from 1, 2, 3, 4 and 5"):
        check_severities([0, 3, 6])
    with pytest.raises(PccloraError, match="severity none"):
        check_severities([])


def test_a_corrupted_data_set_is_a_view():
    clouds = Clouds(DATASET, points=256, seed=0, augmentation="none", sampling="fps", redraw=False, strict=False)
    held = Corrupted(clouds, "dropout_global", 5)
    assert len(held) == 8 and held.points == 64 and held.class_names == DATASET.class_names
    np.testing.assert_array_equal(held.labels, DATASET.labels)
    assert not rows(held[2].points) - rows(clouds[0, 2].points)
    assert held[2].path == DATASET[2].path == held.path_of(2)
