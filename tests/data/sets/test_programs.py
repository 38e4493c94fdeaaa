import hashlib
import runpy
import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pcclora.data import ProgramsConfig, ProgramsDataset, make_loader
from pcclora.data.sets.procedural.categories import Vary
from pcclora.data.sets.procedural.primitives import Mesh, box
from pcclora.data.sets.programs.grown import PROGRAMS
from pcclora.data.sets.programs.program import CORNERS, NODES, ONCE, Program, around, compose, mirrored, moved, rows
from pcclora.data.sets.programs.scan import draw_points, see
from pcclora.data.sets.programs.shapes import block, random_outline, random_profile, rod, rounded, solid, struts
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

CLEAN = {
    "yaw": 0.0, "tilt": 0.0, "stretch": 0.0, "deform": 0.0, "occlusion": 0.0, "patches": 0.0, "density": 0.0,
    "noise": 0.0, "outliers": 0.0, "ground": 0.0,
}  # fmt: skip


def make(split="train", **chosen):
    return ProgramsDataset(ProgramsConfig(**chosen), split=split)


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def drawn(program, count=20_000):
    return draw_points(program, count, generator(), least=1)


def digest(sample):
    return hashlib.sha256(sample.points.tobytes() + sample.part_labels.tobytes()).hexdigest()


def test_samples_keep_the_contract():
    dataset = DATASETS.build(ProgramsConfig(points=200), split="train")
    assert len(dataset) == 100_000 and dataset.class_names == ("object",) and len(dataset.parts.names) == NODES
    for index in (*range(40), 99_999):
        sample = dataset[index]
        assert sample.points.shape == (200, 3) and sample.points.dtype == np.float32 and sample.label == 0
        assert sample.part_labels.shape == (200,) and sample.part_labels.dtype == np.int64
        dataset.parts.check(sample.part_labels, 0, sample.path)
        np.testing.assert_allclose(np.linalg.norm(sample.points, axis=1).max(), 1, rtol=1e-6)
        np.testing.assert_allclose(sample.points.mean(axis=0), 0, atol=1e-6)
        assert len(np.unique(sample.points, axis=0)) == 200
    assert not dataset._made  # memory stays flat


def test_index_split_and_seed_decide_and_nothing_else_does():
    first = make(points=64)
    np.testing.assert_array_equal(first[5].points, make(train=8, points=64)[5].points)
    assert first.digest_of(5) == make(train=8, cache=True, points=64).digest_of(5)
    for other in (make(points=64, split="test"), make(points=64, split="val"), make(points=64, seed=1)):
        assert np.abs(other[5].points - first[5].points).max() > 1e-3
        assert other.digest_of(5) != first.digest_of(5)


def test_an_object_is_the_same_in_another_process():
    code = """
        import hashlib
        from pcclora.data import ProgramsConfig, ProgramsDataset
        dataset = ProgramsDataset(ProgramsConfig(), split="train")
        for sample in map(dataset.__getitem__, range(9, 3, -1)):
            print(hashlib.sha256(sample.points.tobytes() + sample.part_labels.tobytes()).hexdigest())
    """
    other = subprocess.run([sys.executable, "-c", dedent(code)], check=True, capture_output=True, text=True)
    assert other.stdout.split() == [digest(sample) for sample in map(make().__getitem__, range(9, 3, -1))]


@given(
    st.integers(1, 200),
    st.floats(0, 180),
    st.tuples(*(st.floats(0, 1) for _ in range(6))),
    st.integers(1, 9),
    st.integers(0, 2**40),
)
@settings(max_examples=25)
def test_any_settings_give_whole_clouds(points, turn, shares, views, index):
    deform, occlusion, patches, outliers, ground, noise = shares
    hard = {
        "deform": deform, "occlusion": occlusion, "patches": 0.6 * patches, "outliers": 0.5 * outliers,
        "ground": ground, "noise": noise, "stretch": 2 * noise, "density": 3 * noise,
    }  # fmt: skip
    dataset = make(points=points, yaw=turn, tilt=turn, views=views, seed=index, **hard)
    sample = dataset[index % 1000]
    assert sample.points.shape == (points, 3) and np.isfinite(sample.points).all()
    assert 0 <= sample.part_labels.min() <= sample.part_labels.max() < NODES
    if points > 1:
        np.testing.assert_allclose(np.linalg.norm(sample.points, axis=1).max(), 1, rtol=1e-5)


@pytest.mark.parametrize("build", sorted(set(PROGRAMS), key=lambda build: build.__name__), ids=lambda b: b.__name__)
def test_every_program_builds_sound_objects(build):
    kept = 0
    for seed in range(15):
        program = build(Vary(generator(seed)))
        assert 1 <= len({surface.node for surface in program.surfaces}) <= NODES - 1
        for surface in program.surfaces:
            assert np.isfinite(surface.mesh.vertices).all() and np.isfinite(surface.places).all()
            scale = surface.places[:, :, :3] @ surface.places[:, :, :3].swapaxes(1, 2)  # similar copies only
            np.testing.assert_allclose(scale, np.broadcast_to(scale[0, 0, 0] * np.eye(3), scale.shape), atol=1e-12)
        points, nodes = draw_points(program, 300, generator(), least=1)
        kept += len(points)
        low, high = program.box()
        assert len(points) == len(nodes) and (low - 1e-9 <= points).all() and (points <= high + 1e-9).all()
    assert kept > 15 * 150  # cuts leave most of a surface


def test_points_are_spread_by_area_over_all_copies():
    program = Program()
    program.add(box(1, 2, 3).at(5), around(3))  # 22 each
    program.add(box(1, 1, 1), moved([(0, 9, 0)], scale=2))  # 24
    points, nodes = drawn(program)
    assert np.bincount(nodes)[1] / len(nodes) == pytest.approx(24 / (66 + 24), abs=2e-3)
    copies = np.round(np.degrees(np.arctan2(points[nodes == 0, 2], points[nodes == 0, 0])) / 120) % 3
    np.testing.assert_allclose(np.bincount(copies.astype(int)) / (nodes == 0).sum(), 1 / 3, atol=0.02)


def test_a_cut_takes_out_what_lies_within_and_lines_the_hole():
    # A cube of side 2 with a round hole of radius 0.5 through it: 24 - 2 pi / 4 of the cube, 2 pi 0.5 2 of the hole.
    program = Program()
    program.add(block(1, 1, 1), cut=[rod(0.5, 1.2)])
    points, _ = drawn(program, 40_000)
    radius = np.hypot(points[:, 0], points[:, 2])
    lining = radius < 0.51
    assert radius.min() > 0.48 and np.abs(points).max() < 1 + 1e-9
    assert lining.mean() == pytest.approx(2 * np.pi * 0.5 / (24 - np.pi / 2 + 2 * np.pi * 0.5 * 1), abs=0.15)
    assert np.abs(points[~lining]).max(axis=1) == pytest.approx(1)


def test_what_is_cut_away_altogether_is_there_again():
    program = Program()
    program.add(block(1, 1, 1), cut=[block(2, 2, 2)])
    assert len(draw_points(program, 300, generator(), least=100)[0]) == 100


@pytest.mark.parametrize("seed", range(20))
def test_a_solid_knows_what_lies_inside(seed):
    """The surface, drawn in a little, lies inside; drawn out it does not."""
    v = Vary(generator(seed))
    mesh, inside = solid(v, v(0.3, 1), v(0.3, 1), v(0.3, 1))
    corners = mesh.vertices[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    large = area > 1e-3
    middle, normal = corners[large].mean(axis=1), cross[large] / area[large, None]
    one, other = inside(middle + 0.03 * normal), inside(middle - 0.03 * normal)
    assert (one != other).mean() > 0.9  # edges of a star are drawn straight, and thin ones are crossed
    assert max(one.mean(), other.mean()) > 0.9  # all faces are turned the same way


def test_solids_have_the_volume_of_the_textbook():
    points = 2 * generator().random((200_000, 3)) - 1
    for shape, volume in (
        (block(0.5, 0.9, 0.3), 8 * 0.5 * 0.9 * 0.3),
        (block(0.5, 0.9, 0.5, taper=0), 0.9 * 2 / 3),
        (rod(0.5, 0.8), np.pi * 0.25 * 1.6),
        (rod(0.5, 0.8, top=0.0), np.pi * 0.25 * 1.6 / 3),
        (rounded(0.5, 0.9, 0.7), 4 / 3 * np.pi * 0.5 * 0.9 * 0.7),
        (rod(0.5, 0.8).turned(z=30).at(0.1, 0, 0), np.pi * 0.25 * 1.6),
    ):
        assert 8 * shape.inside(points).mean() == pytest.approx(volume, rel=0.05)
        a, b, c = (shape.mesh.vertices[shape.mesh.faces[:, i]] for i in range(3))
        assert abs(np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6) == pytest.approx(volume, rel=0.12)


def test_outlines_and_profiles_reach_one_and_ascend():
    v = Vary(generator())
    for _ in range(200):
        for (place, radius), start, end in ((random_outline(v), 0, 2 * np.pi), (random_profile(v), -1, 1)):
            assert (np.diff(place) >= 0).all() and place[0] == start and place[-1] <= end
            assert 0 <= radius.min() and radius.max() == pytest.approx(1)


def test_struts_have_their_length_and_thickness():
    mesh = struts(np.array([[0.0, 0, 0], [1, 1, 1]]), np.array([[0.0, 2, 0], [1, 1, 4]]), 0.1)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx((2 + 3) * 4 * 0.2)


def test_places():
    assert len(compose(CORNERS, rows((2, 1, 3), (1, 1, 1)))) == 24
    point = np.array([1.0, 2, 3])
    (own, other) = mirrored()[:, :, :3] @ point
    np.testing.assert_array_equal((own, other), [(1, 2, 3), (-1, 2, 3)])
    four = around(4)[:, :, :3] @ point
    np.testing.assert_allclose(four, [(1, 2, 3), (3, 2, -1), (-1, 2, -3), (-3, 2, 1)], atol=1e-12)
    np.testing.assert_allclose(compose(moved([(1, 0, 0)], scale=2), moved([(0, 1, 0)]))[0, :, 3], (1, 2, 0))
    np.testing.assert_array_equal(compose(ONCE, around(3)), around(3))


def test_a_scanner_sees_one_side_of_a_ball_and_all_of_it_without():
    program = Program()
    program.add(Mesh(*rounded(1, 1, 1).mesh))
    points, nodes = draw_points(program, 9000, generator(), least=1)

    def seen(**chosen):
        config = ProgramsConfig(points=3000, **(CLEAN | chosen))
        return see(points, nodes, config, Vary(generator(3)), generator(4))[0]

    def covered(cloud):  # of 96 cells of directions
        unit = cloud / np.linalg.norm(cloud, axis=1, keepdims=True)
        cells = np.floor((unit[:, 1] + 1) * 3.999) * 12 + np.floor((np.arctan2(unit[:, 2], unit[:, 0]) + np.pi) * 1.909)
        return len(np.unique(cells)) / 96

    centre = points.mean(axis=0)
    assert covered(seen()) > 0.95
    half = seen(occlusion=1.0, views=1)
    # What is seen from one side spans a whole disc across, and about half of it in depth.
    spread = np.sort(np.linalg.svd(half - half.mean(axis=0), compute_uv=False))
    assert spread[0] < 0.75 * spread[1] and np.abs(centre).max() < 0.02


def test_strays_and_ground_are_labelled_so():
    labels = make(points=400, outliers=0.5, ground=1.0, occlusion=0.0)[3].part_labels
    assert (labels == NODES - 1).any()
    assert not any((make(points=400, **CLEAN)[index].part_labels == NODES - 1).any() for index in range(20))


def test_a_loader_with_workers_gives_the_same_batches():
    def batches(workers):
        loader = make_loader(
            make(train=6, points=64), points=64, batch_size=3, train=True, workers=workers, part_labels=True
        )
        return [(batch["points"].numpy(), batch["part_labels"].numpy()) for batch in loader]

    for ours, theirs in zip(batches(0), batches(2), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"train": 0}, "train is 0; at least 1"),
        ({"points": 0}, "points is 0; at least 1"),
        ({"views": 0}, "views is 0; at least 1 is needed, or no point"),
        ({"occlusion": 1.5}, "occlusion is 1.5; a share between 0 and 1 "),
        ({"patches": 0.9}, "patches is 0.9; a share between 0 and 0.6"),
        ({"outliers": -0.1}, "outliers is -0.1"),
        ({"deform": 3.0}, "deform is 3.0"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_make_no_cloud_are_refused(chosen, message):
    with pytest.raises(PccloraError, match=message):
        ProgramsConfig(**chosen)


def test_the_gallery_is_drawn(root, tmp_path, monkeypatch):
    script = str(root / "datasets/procedural_programs/gallery.py")
    monkeypatch.setattr(sys, "argv", [script, str(tmp_path / "gallery.png"), "--columns", "2", "--size", "40"])
    runpy.run_path(script, run_name="__main__")
    assert np.ptp(np.asarray(Image.open(tmp_path / "gallery.png").convert("L"))) > 100
    assert Image.open(tmp_path / "gallery.png").size == (80, 80)


def test_one_cloud_is_the_same_on_every_platform():
    sample = make(points=2048)[4]
    grid = np.rint(sample.points.astype(np.float64) * 1e4).astype("<i8")
    found = hashlib.sha256(grid.tobytes() + sample.part_labels.astype("<i8").tobytes()).hexdigest()
    assert found == "e2c5d99c93edf442b87e81c220cb3e066e31551aa10d4b9fb255819e36ca9795"
