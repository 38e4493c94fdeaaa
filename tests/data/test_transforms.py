import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcclora.data import PRESETS, augment
from pcclora.errors import PccloraError

CLOUD = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)


def run(preset, *, seed=0, epoch=0, index=0, train=True):
    return augment(CLOUD, preset=preset, seed=seed, epoch=epoch, index=index, train=train)


@given(st.sampled_from(sorted(PRESETS)), *[st.integers(0, 2**31)] * 3)
def test_augmentation_is_a_pure_function_of_seed_epoch_and_index(preset, seed, epoch, index):
    np.random.seed(seed % 1000)  # the global state must not matter
    before = CLOUD.copy()
    first = run(preset, seed=seed, epoch=epoch, index=index)
    np.testing.assert_array_equal(first, run(preset, seed=seed, epoch=epoch, index=index))
    np.testing.assert_array_equal(CLOUD, before)
    assert first.shape == CLOUD.shape and first.dtype == np.float32 and np.isfinite(first).all()


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"none"}))
def test_another_seed_epoch_or_index_is_another_draw(preset):
    draws = [run(preset), run(preset, seed=1), run(preset, epoch=1), run(preset, index=1)]
    assert len({draw.tobytes() for draw in draws}) == 4


def test_none_changes_nothing_and_neither_does_testing():
    np.testing.assert_array_equal(run("none"), CLOUD)
    for preset in set(PRESETS) - {"scan_openpoints"}:
        np.testing.assert_array_equal(run(preset, train=False), CLOUD)


def test_openpoints_normalises_at_test_time_too():
    out = run("scan_openpoints", train=False)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1).max(), 1, rtol=1e-6)


@pytest.mark.parametrize("preset", ["mn40_st", "scan_st"])
def test_scale_and_translate_has_the_statistics_of_point_mae(preset):
    scales, shifts = [], []
    for index in range(2000):
        out = run(preset, index=index).astype(np.float64)
        slope = (out[0] - out[1]) / (CLOUD[0].astype(np.float64) - CLOUD[1])
        scales.append(slope)
        shifts.append(out[0] - slope * CLOUD[0])
    scales, shifts = np.array(scales), np.array(shifts)
    assert scales.min() >= 2 / 3 - 1e-5 and scales.max() <= 1.5 + 1e-5
    np.testing.assert_allclose(scales.mean(axis=0), (2 / 3 + 1.5) / 2, atol=0.02)
    np.testing.assert_allclose(scales.std(axis=0), (1.5 - 2 / 3) / np.sqrt(12), atol=0.02)
    assert abs(np.corrcoef(scales.T)[0, 1]) < 0.1  # each axis by itself
    assert np.abs(shifts).max() <= 0.2 + 1e-5
    np.testing.assert_allclose(shifts.std(axis=0), 0.4 / np.sqrt(12), atol=0.01)


def test_part_segmentation_scales_all_axes_alike():
    scales, shifts = [], []
    for index in range(2000):
        out = run("partseg_st", index=index).astype(np.float64)
        slope = (out[0] - out[1]) / (CLOUD[0].astype(np.float64) - CLOUD[1])
        np.testing.assert_allclose(slope, slope[0], rtol=1e-4)
        scales.append(slope[0])
        shifts.append(out[0] - slope[0] * CLOUD[0])
    assert 0.8 - 1e-5 <= min(scales) and max(scales) <= 1.25 + 1e-5
    np.testing.assert_allclose([np.mean(scales), np.std(scales)], [1.025, 0.45 / np.sqrt(12)], atol=0.01)
    assert np.abs(shifts).max() <= 0.1 + 1e-5
    np.testing.assert_allclose(np.std(shifts, axis=0), 0.2 / np.sqrt(12), atol=0.005)


def test_rotation_is_about_y_and_covers_the_circle():
    angles = []
    for index in range(1000):
        out = run("scan_rot", index=index).astype(np.float64)
        np.testing.assert_allclose(out[:, 1], CLOUD[:, 1], rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(out, axis=1), np.linalg.norm(CLOUD, axis=1), rtol=1e-5)
        angles.append(np.arctan2(out[0, 2], out[0, 0]))
    counts, _ = np.histogram(angles, bins=8, range=(-np.pi, np.pi))
    assert counts.min() > 80


def test_jitter_is_a_clipped_gaussian():
    noise = np.concatenate([(run("jitter", index=i) - CLOUD).ravel() for i in range(100)])
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 0.01], atol=3e-4)
    assert np.abs(noise).max() <= 0.05 + 1e-6
    np.testing.assert_allclose(np.mean(np.abs(noise) < 0.01), 0.6827, atol=0.01)


def test_dropout_keeps_the_number_of_points_and_drops_up_to_seven_eighths():
    kept = []
    for index in range(300):
        out = run("dropout", index=index)
        changed = (out != CLOUD).any(axis=1)
        np.testing.assert_array_equal(out[changed], np.broadcast_to(CLOUD[0], out[changed].shape))
        kept.append(1 - changed.mean())
    assert min(kept) < 0.3 and max(kept) > 0.9
    np.testing.assert_allclose(np.mean(kept), 1 - 0.875 / 2, atol=0.05)


def test_presets_join():
    joined = run("scan_rot+jitter", index=3)
    assert 0 < np.abs(joined - run("scan_rot", index=3)).max() <= 0.05 + 1e-6


def test_unknown_preset_and_wrong_shape_are_refused():
    with pytest.raises(PccloraError, match="did you mean 'mn40_st'"):
        run("mn40_ts")
    with pytest.raises(PccloraError, match=r"\(4, 6\)"):
        augment(np.zeros((4, 6), np.float32), preset="none", seed=0, epoch=0, index=0)
