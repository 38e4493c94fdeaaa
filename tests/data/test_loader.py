import pickle
import warnings

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader

from pcclora.data import (
    PADDING,
    EpochSampler,
    Parts,
    ProceduralConfig,
    ProceduralDataset,
    Subset,
    make_loader,
    set_epoch,
)
from pcclora.data.sets.arrays import ArrayDataset
from pcclora.data.sets.part_dataset import PartDataset
from pcclora.errors import PccloraError
from pcclora.ops import sample_farthest_points

DATASET = ProceduralDataset(ProceduralConfig(train=37, points=96), split="train")


def loader(**settings):
    options = {"points": 64, "batch_size": 8, "train": True, "seed": 3, "augmentation": "mn40_st"} | settings
    return make_loader(options.pop("dataset", DATASET), **options)


def cloud_dataset(clouds, *, fps_ordered=False):
    return ArrayDataset(
        name="test", split="test", class_names=["a"], clouds=clouds, labels=np.zeros(len(clouds), np.int64),
        places=[f"cloud {i}" for i in range(len(clouds))], normalize=False, fps_ordered=fps_ordered,
    )  # fmt: skip


def collect(batches, key="points"):
    return torch.cat([batch[key] for batch in batches])


def test_batches_are_dicts_of_tensors():
    batches = list(loader())
    assert [len(batch["index"]) for batch in batches] == [8, 8, 8, 8, 5]
    assert batches[0]["points"].shape == (8, 64, 3) and batches[0]["points"].dtype == torch.float32
    assert batches[0]["labels"].dtype == batches[0]["index"].dtype == torch.int64
    assert sorted(collect(batches, "index").tolist()) == list(range(37))
    for batch in batches:
        np.testing.assert_array_equal(batch["labels"], DATASET.labels[batch["index"]])
    assert len(list(loader(drop_last=True))) == 4


def test_epoch_order_is_a_pure_function_of_seed_and_epoch():
    sampler = EpochSampler(50, shuffle=True, seed=1)
    first = list(sampler)
    assert first == list(sampler) and sorted(index for _, index in first) == list(range(50))
    sampler.set_epoch(1)
    second = list(sampler)
    assert {epoch for epoch, _ in second} == {1} and [i for _, i in second] != [i for _, i in first]
    assert list(EpochSampler(3, shuffle=False, seed=1)) == [(0, 0), (0, 1), (0, 2)]


def test_two_workers_give_what_none_gives_and_leave_the_global_random_state_alone():
    states, epochs = [], []
    for workers in (0, 2):
        torch.manual_seed(0)
        batches, current = [], loader(workers=workers)
        for epoch in (4, 5):
            set_epoch(current, epoch)
            batches += list(current)
        states.append(torch.rand(3))
        epochs.append(batches)
    for ours, theirs in zip(*epochs, strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    torch.manual_seed(0)
    assert torch.equal(states[0], torch.rand(3)) and torch.equal(states[0], states[1])


def test_a_new_epoch_draws_anew_in_training_and_not_in_testing():
    for train, same in ((True, False), (False, True)):
        current = loader(train=train)
        first = collect(current)
        set_epoch(current, 1)
        assert torch.equal(first, collect(current)) is same
    voting = loader(train=False, vote=True)
    assert collect(voting, "index").tolist() == list(range(37))
    first = collect(voting)
    set_epoch(voting, 1)
    assert not torch.equal(first, collect(voting))


def test_subset_and_point_choice_do_not_change_the_stored_cloud():
    before = DATASET[5].points.copy()
    collect(loader(dataset=Subset(DATASET, [5, 6])))
    np.testing.assert_array_equal(DATASET[5].points, before)


def test_accelerate_keeps_epochs_on_one_process():
    plain, prepared = loader(), Accelerator(cpu=True).prepare(loader())
    for epoch in (2, 0, 7):
        set_epoch(plain, epoch)
        set_epoch(prepared, epoch)
        assert torch.equal(collect(plain), collect(prepared))


def test_accelerate_deals_one_epoch_to_two_processes():
    plain = loader()
    shards = [prepare_data_loader(loader(), num_processes=2, process_index=rank) for rank in (0, 1)]
    for epoch in (1, 2):
        set_epoch(plain, epoch)
        whole = list(plain)
        dealt = []
        for shard in shards:
            set_epoch(shard, epoch)
            dealt.append(list(shard))
        assert torch.equal(collect(dealt[0][:2]), collect(whole[0:4:2]))
        assert torch.equal(collect(dealt[1][:2]), collect(whole[1:4:2]))
        together = [i for pair in zip(*dealt, strict=True) for batch in pair for i in batch["index"].tolist()]
        assert together[:37] == collect(whole, "index").tolist()  # what gather_for_metrics keeps
        assert shards[0].remainder == 37 % 16


def test_accelerate_skips_batches_of_the_chosen_epoch():
    accelerator, plain = Accelerator(cpu=True), loader()
    skipped = accelerator.skip_first_batches(accelerator.prepare(loader()), 3)
    set_epoch(plain, 6)
    set_epoch(skipped, 6)
    assert torch.equal(collect(skipped), collect(list(plain)[3:]))


def test_set_epoch_refuses_a_foreign_loader():
    with pytest.raises(PccloraError, match="make_loader"):
        set_epoch(torch.utils.data.DataLoader([1, 2, 3]), 0)


def test_testing_takes_the_farthest_points_and_full_clouds_as_they_are():
    cloud = np.random.default_rng(0).normal(size=(1, 200, 3)).astype(np.float32)
    expected, _ = sample_farthest_points(torch.from_numpy(cloud), K=50)
    options = {"batch_size": 1, "train": False}
    assert torch.equal(collect(make_loader(cloud_dataset(cloud), points=50, **options)), expected)
    assert torch.equal(collect(make_loader(cloud_dataset(cloud), points=200, **options)), torch.from_numpy(cloud))
    ordered = make_loader(cloud_dataset(cloud, fps_ordered=True), points=50, **options)
    assert torch.equal(collect(ordered), torch.from_numpy(cloud[:, :50]))


def test_training_draws_from_all_points_or_from_point_maes_pool():
    cloud = np.arange(600, dtype=np.float32).reshape(1, 200, 3)
    options = {"points": 64, "batch_size": 1, "train": True}

    def drawn(**extra):
        current = make_loader(cloud_dataset(cloud), **options, **extra)
        rows = set()
        for epoch in range(40):
            set_epoch(current, epoch)
            rows |= {int(x) // 3 for x in collect(current)[0, :, 0]}
        return rows

    assert drawn() == set(range(200))
    assert drawn(sampling="first") == set(range(75))  # 64 x 1200 / 1024
    farthest = sample_farthest_points(torch.from_numpy(cloud), K=75)[1]
    assert drawn(sampling="fps") == set(farthest[0].tolist())


def test_too_few_points_are_repeated_with_one_warning_or_refused():
    cloud = np.random.default_rng(0).normal(size=(3, 10, 3)).astype(np.float32)
    with pytest.warns(UserWarning, match="cloud 0 has 10 points, 16 are needed") as caught:
        current = make_loader(cloud_dataset(cloud), points=16, batch_size=2, train=False)
        batches = collect(current)
        again = collect(current)
    assert len(caught) == 1 and torch.equal(batches, again)
    assert torch.equal(batches[:, :10], torch.from_numpy(cloud))
    assert {tuple(row) for row in batches[0].tolist()} == {tuple(row) for row in cloud[0].tolist()}
    with pytest.raises(PccloraError, match="cloud 0 has 10 points"):
        make_loader(cloud_dataset(cloud), points=16, batch_size=2, train=False, strict=True)


def test_an_error_in_a_worker_keeps_its_type_and_text():
    try:
        raise PccloraError("cloud 1: 8 points are NaN")
    except PccloraError:
        carried = torch._utils.ExceptionWrapper(where="in DataLoader worker process 0")  # as torch's workers do
    with pytest.raises(PccloraError, match="cloud 1: 8 points are NaN"):
        carried.reraise()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": 0}, "points is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"augmentation": "mn40"}, "did you mean 'mn40_st'"),
        ({"sampling": "voxel"}, "fps, first, random"),
        ({"dataset": Subset(DATASET, [])}, "no samples"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(PccloraError, match=message):
        loader(**settings)


def test_a_loader_can_be_sent_to_another_process():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy = pickle.loads(pickle.dumps(loader().dataset))
    np.testing.assert_array_equal(copy[2, 5][0], loader().dataset[2, 5][0])


def ragged_dataset(lengths=(200, 64, 90)):
    """Clouds of several lengths whose every point says by its x which cloud and row it is, and by that its part."""
    clouds = [np.arange(3 * n, dtype=np.float32).reshape(n, 3) + 1000 * row for row, n in enumerate(lengths)]
    return PartDataset(
        name="ragged", split="test", class_names=["a"], rows=[(cloud, part_of(cloud)) for cloud in clouds],
        labels=np.zeros(len(clouds), np.int64), places=["cloud"] * len(clouds), normalize=False,
        parts=Parts(tuple("abcde"), (tuple(range(5)),)), form="test",
    )  # fmt: skip


def part_of(points):
    return (np.rint(np.asarray(points)[..., 0]) // 3 % 5).astype(np.int64)


@pytest.mark.parametrize("sampling", ["fps", "first", "random"])
@pytest.mark.parametrize("points", [64, 80])  # the second repeats points of a short cloud
@pytest.mark.filterwarnings("ignore:cloud has 64 points")
def test_part_labels_go_with_their_points(points, sampling):
    options = {"points": points, "batch_size": 3, "sampling": sampling, "seed": 5, "part_labels": True}
    for train in (True, False):
        for batch in make_loader(ragged_dataset(), train=train, **options):
            np.testing.assert_array_equal(batch["part_labels"], part_of(batch["points"]))


@pytest.mark.parametrize(("train", "vote"), [(True, False), (False, False), (False, True)])
def test_asking_for_parts_changes_no_point(train, vote):
    options = {"train": train, "vote": vote, "augmentation": "partseg_st"}
    whole = loader(**options, whole=True)
    for plain, parts, both in zip(loader(**options), loader(**options, part_labels=True), whole, strict=True):
        assert set(plain) == {"points", "labels", "index"}
        assert all(torch.equal(plain[key], parts[key]) and torch.equal(plain[key], both[key]) for key in plain)
        assert torch.equal(parts["part_labels"], both["part_labels"]) and parts["part_labels"].dtype == torch.int64


def test_the_whole_cloud_has_the_transform_of_its_sample():
    batch = next(iter(loader(train=False, vote=True, augmentation="partseg_st+scan_rot+jitter", whole=True)))
    for row in range(8):
        queries = {tuple(point): part for point, part in zip(
            batch["query"][row].tolist(), batch["query_labels"][row].tolist(), strict=True)}  # fmt: skip
        chosen = [queries[tuple(point)] for point in batch["points"][row].tolist()]
        assert chosen == batch["part_labels"][row].tolist()
    assert batch["query"].shape == (8, 96, 3) and batch["lengths"].tolist() == [96] * 8


def test_clouds_of_several_lengths_are_filled_up_with_their_first_point():
    data = ragged_dataset()
    (batch,) = make_loader(data, points=32, batch_size=3, train=False, whole=True)
    assert batch["query"].shape == (3, 200, 3) and batch["lengths"].tolist() == [200, 64, 90]
    for row, length in enumerate((200, 64, 90)):
        np.testing.assert_array_equal(batch["query"][row, :length], data[row].points)
        np.testing.assert_array_equal(batch["query_labels"][row, :length], data[row].part_labels)
        assert (batch["query"][row, length:] == batch["query"][row, 0]).all()
        assert (batch["query_labels"][row, length:] == PADDING).all()


def test_whole_clouds_pass_through_workers_and_accelerate():
    plain = list(loader(train=False, whole=True))
    for other in (
        loader(train=False, whole=True, workers=2),
        Accelerator(cpu=True).prepare(loader(train=False, whole=True)),
    ):
        assert all(torch.equal(a[key], b[key]) for a, b in zip(plain, other, strict=True) for key in a)


def test_whole_clouds_of_several_lengths_are_dealt_to_two_processes():
    options = {"points": 32, "batch_size": 1, "train": False, "whole": True}
    plain = list(make_loader(ragged_dataset((40, 90, 50, 60)), **options))
    for rank in (0, 1):
        loader = make_loader(ragged_dataset((40, 90, 50, 60)), **options)
        shard = list(prepare_data_loader(loader, num_processes=2, process_index=rank))
        assert all(torch.equal(a[key], b[key]) for a, b in zip(shard, plain[rank::2], strict=True) for key in a)


def test_parts_are_refused_where_there_are_none():
    cloud = np.zeros((1, 64, 3), np.float32)
    for option in ("part_labels", "whole"):
        with pytest.raises(PccloraError, match="no part labels.*seg_classes"):
            make_loader(cloud_dataset(cloud), points=64, batch_size=1, train=True, **{option: True})
    with pytest.raises(PccloraError, match="'scan_rot.dropout' puts points in the place of others"):
        loader(augmentation="scan_rot+dropout", part_labels=True)


def test_a_part_of_another_class_is_refused():
    data = ragged_dataset()
    data.parts = Parts(tuple("abcde"), ((0, 1, 2, 4),))
    with pytest.raises(
        PccloraError, match=r"cloud: part label 3 at point 3 \(40 such points\); class 0 has the parts 0, 1, 2, 4"
    ):
        make_loader(data, points=32, batch_size=1, train=False)


SKEWED = np.repeat([0, 1, 2], [40, 7, 3])


def balanced(epoch, *, seed=1, views=0):
    sampler = EpochSampler(50, shuffle=True, seed=seed, labels=SKEWED, views=views)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_a_balanced_epoch_shows_each_class_as_often_as_any_other():
    for epoch in range(3):
        shown = balanced(epoch)
        assert len(shown) == 50 and sorted(np.bincount(SKEWED[[i for _, i in shown]])) == [16, 17, 17]
        times = np.bincount([i for _, i in shown], minlength=50)
        for label in range(3):  # of one class none is shown twice before all are once
            assert np.ptp(times[SKEWED == label]) <= 1
    assert balanced(2) == balanced(2) != balanced(1) and balanced(2) != balanced(2, seed=2)
    seen = {index for epoch in range(8) for _, index in balanced(epoch)}
    assert seen == set(range(50)), "what one epoch leaves out of a large class comes in another"


def test_a_repeat_in_a_balanced_epoch_is_another_draw_of_points_and_augmentation():
    shown = [pair for epoch in range(30) for pair in balanced(epoch)]
    assert len(set(shown)) == len(shown)
    assert len({view for epoch in range(30) for view, _ in balanced(epoch, views=4)}) <= 4 * 6


def test_balanced_batches_reach_two_processes():
    skewed = Subset(DATASET, [*range(20), *np.flatnonzero(DATASET.labels == DATASET.labels[0])[:1]])
    plain = loader(dataset=skewed, balanced=True)
    counts = np.bincount(collect(plain, "labels"))
    assert np.ptp(counts[counts > 0]) <= 1
    shards = [
        prepare_data_loader(loader(dataset=skewed, balanced=True), num_processes=2, process_index=n) for n in (0, 1)
    ]
    whole, dealt = list(plain), [list(shard) for shard in shards]
    assert torch.equal(whole[0]["index"], dealt[0][0]["index"]) and torch.equal(whole[1]["index"], dealt[1][0]["index"])
