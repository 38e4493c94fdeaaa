"""The C++ kernel: every vector width, threads, forks, and a package built without a compiler."""

import os

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pcclora import ops
from pcclora.errors import PccloraError
from pcclora.ops import native

needs_kernel = pytest.mark.skipif(not native.available(), reason=native.status())


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def reload_library(monkeypatch):
    native._load.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    native._load.cache_clear()


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["uniform", "lattice", "offset", "huge"])
def test_all_vector_widths_agree(cloud, dtype, kind):
    points = cloud(kind, 2, 999, dtype=dtype)
    plain, *wider = native.widths()
    idx = native.sample_farthest_points(points, K=99, skip_near_origin=True, width=plain)
    dists, near = native.knn_points(points[:, :70], points, K=33, width=plain)
    for width in wider:
        assert torch.equal(native.sample_farthest_points(points, K=99, skip_near_origin=True, width=width), idx)
        again = native.knn_points(points[:, :70], points, K=33, width=width)
        assert torch.equal(again[0], dists) and torch.equal(again[1], near)


@needs_kernel
def test_threads_change_nothing(cloud, two_threads):
    points = cloud("uniform", 5, 2000)
    idx, near = native.sample_farthest_points(points, K=200), native.knn_points(points[:, :300], points, K=16)
    assert native.threads() == 2
    torch.set_num_threads(1)
    assert torch.equal(native.sample_farthest_points(points, K=200), idx)
    assert all(torch.equal(a, b) for a, b in zip(native.knn_points(points[:, :300], points, K=16), near, strict=True))


class Sampled(Dataset):
    """Clouds whose items use the ops, as a data set does that samples its files."""

    def __init__(self, points):
        self.points = points

    def __len__(self):
        return len(self.points)

    def __getitem__(self, i):
        cloud = self.points[i : i + 1]
        chosen, idx = ops.sample_farthest_points(cloud, K=256)
        near = ops.knn_points(chosen, cloud, K=8).idx
        return idx[0], near[0], native.threads()


@needs_kernel
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_workers_forked_after_use_in_the_parent(cloud, two_threads):
    points = cloud("uniform", 6, 4096)
    chosen, idx = ops.sample_farthest_points(points, K=256)  # on two threads
    near = ops.knn_points(chosen, points, K=8).idx
    loader = DataLoader(Sampled(points), batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=60)
    batches = list(loader)
    assert torch.equal(torch.cat([b[0] for b in batches]), idx)
    assert torch.equal(torch.cat([b[1] for b in batches]), near)
    assert {int(t) for b in batches for t in b[2]} == {1}
    assert native.threads() == 2


@needs_kernel
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_any_other_fork_uses_one_thread(two_threads):
    child = os.fork()
    if child == 0:
        os._exit(native.threads())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_backends_says_what_is_in_use_and_why(monkeypatch):
    monkeypatch.delenv("PCCLORA_BACKEND", raising=False)
    report = ops.backends()
    assert set(report) == {"cpu", "cuda", "mps"}
    assert report["cpu"] == f"{'native' if native.available() else 'torch'}: {native.status()}"
    assert report["cuda"].startswith("torch: ")
    monkeypatch.setenv("PCCLORA_BACKEND", "torch")
    assert ops.backends()["cpu"] == "torch: PCCLORA_BACKEND asks for it"


def test_an_unknown_backend_is_refused(monkeypatch, cloud):
    monkeypatch.setenv("PCCLORA_BACKEND", "tocrh")
    with pytest.raises(PccloraError, match=r"PCCLORA_BACKEND=tocrh: .*did you mean 'torch'"):
        ops.sample_farthest_points(cloud("uniform", 1, 5), K=2)


def test_pytorch3d_runs_only_when_asked(monkeypatch, cloud):
    monkeypatch.setenv("PCCLORA_BACKEND", "pytorch3d")
    points = cloud("uniform", 2, 60)
    try:
        import pytorch3d.ops  # noqa: F401
    except ImportError:
        with pytest.raises(PccloraError, match=r"not installed; install it or unset"):
            ops.sample_farthest_points(points, K=5)
        return
    chosen, idx = ops.sample_farthest_points(points, K=5)
    near = ops.knn_points(chosen, points, K=6)
    with pytest.raises(PccloraError, match=r"pytorch3d: it has float32, start=0"):
        ops.sample_farthest_points(points, K=5, start=1)
    monkeypatch.setenv("PCCLORA_BACKEND", "torch")
    assert torch.equal(ops.sample_farthest_points(points, K=5)[1], idx)
    assert torch.equal(ops.knn_points(chosen, points, K=6).idx, near.idx)


@pytest.mark.parametrize(("content", "reason"), [(None, "without a C++ compiler"), (b"not a library", "does not load")])
def test_without_the_library_torch_does_the_work(reload_library, tmp_path, cloud, content, reason):
    library = tmp_path / "_geometry.so"
    if content is not None:
        library.write_bytes(content)
    reload_library.setattr(native, "LIBRARY", library)
    reload_library.delenv("PCCLORA_BACKEND", raising=False)
    assert ops.backends()["cpu"].startswith("torch: ") and reason in ops.backends()["cpu"]
    assert native.widths() == ()
    assert ops.sample_farthest_points(cloud("uniform", 1, 9), K=3)[1].shape == (1, 3)


@needs_kernel
def test_a_library_of_other_source_is_not_used(reload_library):
    reload_library.setattr(native, "VERSION", native.VERSION + 1)
    assert not native.available() and "was built from other source" in native.status()
