import hashlib

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from pcclora.data import ProceduralConfig, ProceduralDataset
from pcclora.data.sets.procedural.categories import CATEGORIES, Vary
from pcclora.data.sets.procedural.clouds import PART_NAMES
from pcclora.data.sets.procedural.primitives import arc, box, cylinder, ellipsoid, join, lathe, prism, torus, tube
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

# Global part numbers of ShapeNetPart: (category, first, last).
SHAPENET_PARTS = [
    ("airplane", 0, 3), ("bag", 4, 5), ("cap", 6, 7), ("car", 8, 11), ("chair", 12, 15), ("earphone", 16, 18),
    ("guitar", 19, 21), ("knife", 22, 23), ("lamp", 24, 27), ("laptop", 28, 29), ("motorbike", 30, 35),
    ("mug", 36, 37), ("pistol", 38, 40), ("rocket", 41, 43), ("skateboard", 44, 46), ("table", 47, 49),
]  # fmt: skip
CLEAN = {"yaw": 0.0, "tilt": 0.0, "stretch": 0.0, "noise": 0.0, "occlusion": 0.0, "density": 0.0}


def make(split="train", **settings):
    return ProceduralDataset(ProceduralConfig(**settings), split=split)


def test_categories_and_part_numbers_are_those_of_shapenetpart():
    ours = [(entry.name, entry.first_part, entry.first_part + len(entry.parts) - 1) for entry in CATEGORIES]
    assert ours == SHAPENET_PARTS
    assert len(PART_NAMES) == len(set(PART_NAMES)) == 50


def test_samples_keep_the_contract():
    dataset = DATASETS.build(ProceduralConfig(train=33, points=200), split="train")
    assert len(dataset) == 33 and len(dataset.class_names) == 16
    for index in range(33):
        sample = dataset[index]
        assert sample.points.shape == (200, 3) and sample.points.dtype == np.float32
        assert sample.label == dataset.labels[index] == index % 16
        entry = CATEGORIES[sample.label]
        assert set(sample.part_labels) <= set(range(entry.first_part, entry.first_part + len(entry.parts)))
        np.testing.assert_allclose(np.linalg.norm(sample.points, axis=1).max(), 1, rtol=1e-6)
        np.testing.assert_allclose(sample.points.mean(axis=0), 0, atol=1e-6)


def test_every_part_occurs():
    dataset = make(train=640, points=256)
    assert len({part for index in range(640) for part in dataset[index].part_labels}) == 50


def test_one_cloud_is_the_same_on_every_platform():
    sample = make(points=2048)[4]
    grid = np.rint(sample.points.astype(np.float64) * 1e4).astype("<i8")
    digest = hashlib.sha256(grid.tobytes() + sample.part_labels.astype("<i8").tobytes()).hexdigest()
    assert digest == "a4800760c75f5e116207c0e41c1ea2171400bfd0881eded8becb1c750f4d5ccd"


def test_index_split_and_seed_decide_and_nothing_else_does():
    first = make(train=8, points=64)
    np.testing.assert_array_equal(first[5].points, make(train=800, points=64)[5].points)
    for other in (make(points=64, split="test")[5], make(points=64, seed=1)[5], first[6]):
        assert np.abs(other.points - first[5].points).max() > 1e-3


def test_points_are_spread_by_area():
    # Twelve boxes' worth of luck would not hide an error of a few per cent: a knife's blade is one prism of known area.
    dataset = make(points=60_000, **CLEAN)
    entry = next(entry for entry in CATEGORIES if entry.name == "knife")
    index = CATEGORIES.index(entry)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((0, 0, index))))
    areas = np.zeros(2)
    for name, mesh in entry.build(Vary(rng)):
        a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
        areas[entry.parts.index(name)] += np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    counts = np.bincount(dataset[index].part_labels - entry.first_part, minlength=2)
    np.testing.assert_allclose(counts / counts.sum(), areas / areas.sum(), atol=0.01)


def test_occlusion_hides_a_region_and_noise_moves_points():
    whole, hidden = make(points=4096, **CLEAN), make(points=4096, **(CLEAN | {"occlusion": 0.9}))
    volumes = [[np.ptp(data[i].points, axis=0).prod() for i in range(32)] for data in (whole, hidden)]
    assert not np.allclose(*volumes)
    noisy = make(points=512, **(CLEAN | {"noise": 0.05}))
    shift = np.abs(noisy[0].points - make(points=512, **CLEAN)[0].points)
    assert 1e-4 < shift.mean() < 0.2


def test_it_is_learnable_but_not_trivial():
    # Nearest neighbour on sorted distances to the centre and heights: crude, far above chance, far below perfect.
    train, test = make(train=480, test=160, points=256), make(train=480, test=160, points=256, split="test")

    def describe(data):
        clouds = [data[i].points for i in range(len(data))]
        return np.stack([np.r_[np.sort(np.linalg.norm(c, axis=1))[::8], np.sort(c[:, 1])[::8]] for c in clouds])

    score = KNeighborsClassifier(1).fit(describe(train), train.labels).score(describe(test), test.labels)
    assert 0.3 < score < 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 0}, "train is 0"),
        ({"noise": -1.0}, "noise"),
        ({"occlusion": 1.0}, "occlusion"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(PccloraError, match=message):
        ProceduralConfig(**settings)


def test_unknown_split_and_index_are_refused():
    with pytest.raises(PccloraError, match="no split 'validation'"):
        make(split="validation")
    with pytest.raises(IndexError):
        make(train=4)[4]


@pytest.mark.parametrize(
    ("mesh", "area"),
    [
        (box(1, 2, 3), 22),
        (prism([(0, 0), (2, 0), (2, 1), (0, 1)], 3), 2 * 2 + 6 * 3),
        (cylinder(1, 2, sides=400), 2 * np.pi + 4 * np.pi),
        (cylinder(1, 2, top=0, sides=400), np.pi + np.pi * np.sqrt(5)),
        (tube([(0, 0, 0), (0, 3, 0), (0, 7, 0)], 0.5, sides=400), 7 * np.pi),
        (lathe([(2, 0), (2, 1)], sides=400), 4 * np.pi),
        (join([box(1, 1, 1), box(1, 1, 1).at(5)]), 12),
        (box(1, 1, 1).at(3).mirrored(), 12),
        (box(1, 2, 3).turned(x=20, y=30, z=40), 22),
        (box(1, 1, 1).stretched(2, 3, 4), 2 * (6 + 8 + 12)),
    ],
)
def test_primitives_have_the_area_of_the_textbook(mesh, area):
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    np.testing.assert_allclose(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2, area, rtol=1e-3)


def test_curved_primitives_lie_on_their_surface():
    np.testing.assert_allclose(((ellipsoid(1, 2, 3).vertices / (1, 2, 3)) ** 2).sum(axis=1), 1)
    assert ellipsoid(1, 1, 1, part=0.5).vertices[:, 1].min() == pytest.approx(0)
    ring = torus(2, 0.5).vertices
    np.testing.assert_allclose(np.hypot(np.hypot(ring[:, 0], ring[:, 1]) - 2, ring[:, 2]), 0.5, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(arc(3, start=10, stop=50), axis=1), 3)
