"""Tables of text and of numpy: what stands before the first point, how numbers are written, what columns are."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcclora.data import read_points, read_scan
from pcclora.data.readers import columns as column_names
from pcclora.data.readers.files import read_lines
from pcclora.errors import PccloraError

TWO = [[1, 2, 3], [4, 5, 6]]
RNG = np.random.default_rng(0)
XYZ = RNG.normal(size=(200, 3)).round(3)
RGB = RNG.integers(0, 256, size=(200, 3))
UNIT = XYZ / np.linalg.norm(XYZ, axis=1, keepdims=True)
PARTS = np.arange(200) % 5
INTENSITY = RNG.integers(0, 120, size=200)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(column_names, "_said", set())


def written(folder, content, name="a.txt"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf1 2 3\n4 5 6\n",
        b"\xef\xbb\xbf# x y z\n1 2 3\n4 5 6\n",
        "1 2 3\r\n4 5 6\r\n".encode("utf-16"),
        "# Höhe in m\n1 2 3\n4 5 6\n".encode("cp1252"),
        "1 2 3 # Höhe\n4 5 6\n".encode("cp1252"),
        "// 高度\n1 2 3\n4 5 6\n".encode("gbk"),
        b"# one\n# two\n// three\n#\n# five\n# six\n1 2 3\n4 5 6\n",
        b"1 2 3 # corner\n4 5 6 // corner\n",
        b"1 2 3\n# between\n\n4 5 6\n# after\n",
        b"survey of a hall\nstation one\nX;Y;Z\n1;2;3\n4;5;6\n",
        b"1,2,3,\n4,5,6,\n",
        b"1;2;3;\n4;5;6;\n",
        b"1 2 3 \n4 5 6\t\n",
        b" 1  2 3\n\t4 5\t 6\n",
        b"1, 2, 3\n4,5 ,6\n",
        b'"x","y","z"\n"1","2","3"\n"4","5","6"\n',
        b"1.0D+00 2d0 0.3D1\n4 5 6\n",
        b"1 2 3\r4 5 6\r",
        b"2\n1 2 3\n4 5 6\n",
        b"//X,Y,Z\n2\n1,2,3\n4,5,6\n",
        b",x,y,z\n0,1,2,3\n1,4,5,6\n",
        b"y x z\n2 1 3\n5 4 6\n",
        b"id Points:0 Points:1 Points:2 name_7\n9 1 2 3 0\n8 4 5 6 0\n",
        b"X [m],Y (m),Z[m]\n1,2,3\n4,5,6\n",
    ],
)
def test_the_first_point_is_never_lost(content, tmp_path):
    np.testing.assert_array_equal(read_points(written(tmp_path, content)), TWO)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,5 2,5 3,5\n4 5 6\n", "line 1 has decimal commas: '1,5 2,5 3,5'"),
        (b"x;y;z\n1,5;2;3\n", "line 2 has decimal commas"),
        (b"1 2 3\n4,5 5 6\n", "damaged"),
        (b"hall 12\n1 2 3\n", "line 1 has numbers and words: 'hall 12'; put '#' before it"),
        (b"1 2 three\n4 5 6\n", "line 1 has numbers and words"),
        (b"1.0-2.0-3.0\n4 5 6\n", "line 1 has numbers that run together: '1.0-2.0-3.0'; put blanks between them"),
        (b"x y z\n-1.5E-02+2.0E+00 .5-3.0\n4 5 6\n", "line 2 has numbers that run together"),
        (b"1 2 3\n4 5 6 7\n", r"changed from 3 to 4 at row 2(?!.*usecols)"),
        (b"1,,3,4\n4,5,6,7\n", "line 1 has numbers and words"),
        (b"1,2,3,4\n4,5,,7\n", "damaged"),
        (b"1 2\n3 4\n", "at least three numbers, line 1 has 2"),
        (b"3\n1 2 3\n4 5 6\n", "truncated, 2 of 3 points that its count promises"),
        (b"1\n1 2 3\n4 5 6\n", "2 of 1 points"),
        (b"# nothing\n", "none of its lines"),
        (b"1 2 3\n4 5 6 7\n", "damaged"),
        (b"1 2 3" + b" " * 2_000_000, "a line of more than a million characters"),
    ],
)
def test_what_cannot_be_told_is_refused(content, message, tmp_path):
    with pytest.raises(PccloraError, match=message):
        read_points(written(tmp_path, content))


@pytest.mark.parametrize("nan", ["nan", "-nan(ind)", "1.#QNAN", "-1.#IND00", "inf", "NaN"])
@pytest.mark.parametrize("place", [0, 2])
def test_missing_numbers_leave_their_row_out_whoever_wrote_them(nan, place, tmp_path):
    missing = ["7", "8", "9"]
    missing[place] = nan
    path = written(tmp_path, f"1 2 3 0\n{' '.join(missing)} 1\n4 5 6 2\n")
    with pytest.warns(UserWarning, match=r"1 of 3 points are NaN or infinite and left out, the first is point 1"):
        scan = read_scan(path, columns=["x", "y", "z", "label"])
    assert scan.points.tolist() == TWO and scan.labels.tolist() == [0, 2]


def test_a_list_may_have_a_byte_order_mark_and_any_line_ends(tmp_path):
    assert read_lines(written(tmp_path, b"\xef\xbb\xbfchair\r\nmug\r\n\r\n")) == ["chair", "mug"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.just(3)), elements=st.floats(-1e9, 1e9)),
    mark=st.sampled_from([" ", ",", ";", "\t", ", ", "  "]),
    end=st.sampled_from(["\n", "\r\n", " \n", "\n\n"]),
    head=st.sampled_from(["", "# c\n", "x y z\n", "// a\n//b 1 2 3\n", "\ufeff"]),
    exponent=st.sampled_from("eED"),
)
def test_numbers_come_back_however_they_are_written(table, mark, end, head, exponent, tmp_path):
    rows = (mark.join(f"{x:.17e}".replace("e", exponent) for x in row) for row in table)
    path = written(tmp_path, head + "".join(row + end for row in rows))
    np.testing.assert_array_equal(read_points(path), table)


LAYOUTS = {
    "x y z label": ([XYZ, PARTS], None, PARTS),
    "x y z intensity": ([XYZ, INTENSITY], None, None),
    "x y z intensity as fractions": ([XYZ, INTENSITY / 255], None, None),
    "x y z r g b": ([XYZ, RGB], RGB, None),
    "x y z r g b of 1": ([XYZ, RGB / 255], RGB, None),
    "x y z normal": ([XYZ, UNIT], None, None),
    "x y z r g b label": ([XYZ, RGB, PARTS], RGB, PARTS),
    "x y z normal label": ([XYZ, UNIT, PARTS], None, PARTS),
    "x y z i r g b": ([XYZ, INTENSITY, RGB], RGB, None),
    "x y z i r g b, signed i": ([XYZ, INTENSITY - 2000, RGB], RGB, None),
    "x y z i r g b of 1": ([XYZ, INTENSITY / 255, RGB / 255], RGB, None),
    "x y z i r g b label": ([XYZ, INTENSITY, RGB, PARTS], RGB, PARTS),
    "x y z r g b normal": ([XYZ, RGB, UNIT], RGB, None),
    "x y z normal r g b": ([XYZ, UNIT, RGB], RGB, None),
    "x y z r g b normal label": ([XYZ, RGB, UNIT, PARTS], RGB, PARTS),
    "x y z and two": ([XYZ, INTENSITY, PARTS], None, None),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("suffix", ["npy", "txt"])
def test_columns_are_guessed_by_what_they_hold_and_it_is_said_once(name, suffix, tmp_path):
    columns, colors, labels = LAYOUTS[name]
    table = np.column_stack(columns)
    path = tmp_path / f"a.{suffix}"
    np.save(path, table) if suffix == "npy" else np.savetxt(path, table, fmt="%.6f")
    with pytest.warns(UserWarning, match=rf"of {table.shape[1]} columns: read as x y z .*columns=") as said:
        scan = read_scan(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_scan(path)
    assert len(said) == 1
    np.testing.assert_allclose(scan.points, XYZ, atol=1e-6)
    for found, right in ((scan.colors, colors), (scan.labels, labels)):
        assert (found is None) == (right is None)
        if right is not None:
            np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("name", ["a.pts", "a.txt"])
def test_a_count_above_seven_columns_means_intensity_whatever_the_blue_channel_holds(name, tmp_path):
    colors = np.column_stack([RGB[:, :2], PARTS % 2])
    rows = np.column_stack([XYZ, INTENSITY, colors])
    np.savetxt(tmp_path / name, rows, fmt="%g", header=str(len(rows)), comments="")
    with pytest.warns(UserWarning, match="read as x y z intensity red green blue"):
        scan = read_scan(tmp_path / name)
    assert scan.labels is None
    np.testing.assert_array_equal(scan.colors, colors)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("x y z b g r part", "a.txt"),
        ("# X Y Z B G R Scalar_Label", "a.asc"),
        ("//X Y Z Blue Green Red label", "a.txt"),
    ],
)
def test_a_header_names_the_columns(header, name, tmp_path):
    rows = np.column_stack([XYZ, RGB[:, ::-1], PARTS])
    np.savetxt(tmp_path / name, rows, fmt="%g", header=header, comments="")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scan = read_scan(tmp_path / name)
    np.testing.assert_array_equal(scan.colors, RGB)
    np.testing.assert_array_equal(scan.labels, PARTS)


def test_the_suffix_names_the_columns(tmp_path):
    open3d = pytest.importorskip("open3d")
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(XYZ))
    cloud.colors, cloud.normals = (open3d.utility.Vector3dVector(values) for values in (RGB / 255, UNIT))
    for suffix, colors in (("xyz", None), ("xyzn", None), ("xyzrgb", RGB), ("pts", RGB)):
        open3d.io.write_point_cloud(str(tmp_path / f"a.{suffix}"), cloud)
        scan = read_scan(tmp_path / f"a.{suffix}")
        np.testing.assert_allclose(scan.points, XYZ, atol=1e-6)
        assert scan.colors is None if colors is None else np.abs(scan.colors.astype(int) - colors).max() <= 1


def test_the_user_names_the_columns(tmp_path):
    rows = np.column_stack([INTENSITY, XYZ, PARTS, RGB])
    names = "i x y z label r g b".split()
    np.save(tmp_path / "a.npy", rows)
    np.savetxt(tmp_path / "a.csv", rows, delimiter=",", header="wrong,x,y,z,b,r,g,label", comments="")
    rows.astype("<f4").tofile(tmp_path / "a.bin")
    np.savez(tmp_path / "a.npz", points=rows)
    for suffix in ("npy", "csv", "bin", "npz"):
        scan = read_scan(tmp_path / f"a.{suffix}", columns=names)
        np.testing.assert_allclose(scan.points, XYZ, atol=1e-6)
        np.testing.assert_array_equal(scan.colors, RGB)
        np.testing.assert_array_equal(scan.labels, PARTS)
        with pytest.raises(PccloraError, match=r"names 3: x y z|rows of 3 float32"):
            read_points(tmp_path / f"a.{suffix}", columns=["x", "y", "z"])
    with pytest.raises(PccloraError, match=r"name them: columns=\['x', 'y', 'z', 'i'\] for KITTI"):
        read_scan(tmp_path / "a.bin")
    with pytest.raises(PccloraError, match="the column 'label' has others than whole numbers from 0"):
        read_scan(tmp_path / "a.npy", columns="_ label x y z r g b".split())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["x", "y", "zz"], "unknown name 'zz'; did you mean 'z'"),
        (["x", "y", "_"], "'z' is missing"),
        (["x", "y", "z", "r", "g"], "'blue' is missing; red, green, blue go together"),
        (["x", "y", "z", "i", "intensity"], "'intensity' comes twice"),
        ("xyz", "a list of names is needed"),
        ([], "'x' is missing"),
    ],
)
def test_names_that_make_no_cloud_are_refused(columns, message, tmp_path):
    with pytest.raises(PccloraError, match=message):
        read_scan(tmp_path / "absent.txt", columns=columns)
