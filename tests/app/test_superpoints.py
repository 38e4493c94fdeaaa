"""Super-points: deterministic, nested from one size to the next, within a part mostly, and fast."""

import time

import numpy as np
import pytest

from pcclora.app.superpoints import find_superpoints
from tests.app.conftest import made


def purity(pieces: np.ndarray, parts: np.ndarray) -> float:
    """Share of the points that the commonest part of their piece has."""
    return sum(np.bincount(parts[pieces == piece]).max() for piece in np.unique(pieces)) / len(parts)


@pytest.fixture(scope="module")
def chair():
    return made("chair", 1)[0]


@pytest.fixture(scope="module")
def tree(chair):
    return find_superpoints(chair[0])


@pytest.mark.parametrize("count", [1, 2, 17, 300])
def test_there_are_as_many_pieces_as_asked_for(tree, count):
    assert np.array_equal(np.unique(tree.cut(count)), np.arange(count))


def test_more_pieces_than_points_are_one_a_point(tree, chair):
    assert len(np.unique(tree.cut(10**9))) == len(chair[0]) == tree.most


def test_the_same_points_give_the_same_pieces_wherever_and_however_large(tree, chair):
    moved = find_superpoints(chair[0] * 8.0 + 1024.0)
    assert np.array_equal(tree.cut(40), moved.cut(40))


def test_a_finer_cut_only_cuts_pieces_in_two(tree):
    coarse, fine = tree.cut(20), tree.cut(90)
    assert all(len(np.unique(coarse[fine == piece])) == 1 for piece in range(90))


def test_pieces_keep_to_parts_and_get_better_as_they_get_smaller(tree, chair):
    found = [purity(tree.cut(count), chair[1]) for count in (5, 40, 200)]
    assert found == sorted(found)
    assert found[1] > 0.8 > np.bincount(chair[1]).max() / len(chair[1])


def test_no_piece_goes_over_an_edge():
    u, v = np.random.default_rng(0).random((2, 1500))
    side = np.arange(1500) % 2 == 0
    corner = np.where(side[:, None], np.stack([u, v, 0 * u], 1), np.stack([0 * u, v, u], 1))
    assert purity(find_superpoints(corner).cut(2), side.astype(int)) > 0.98


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_few_points_or_equal_ones_are_no_trouble(count):
    for points in (np.zeros((count, 3)), np.random.default_rng(0).random((count, 3))):
        assert len(np.unique(find_superpoints(points).cut(count))) == count


def test_a_large_cloud_is_cut_by_a_thinned_one(chair):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(chair[0]), 100_000)
    large = chair[0][rows] + rng.normal(0, 2, (100_000, 3))
    begun = time.process_time()
    pieces = find_superpoints(large).cut(40)
    assert time.process_time() - begun < 10  # a second or two on an idle machine
    assert purity(pieces, chair[1][rows]) > 0.8
