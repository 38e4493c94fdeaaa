"""Files of tensors: what the library reads is what was written, and a flipped bit is found."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from pcclora.errors import PccloraError
from pcclora.tensor_file import SHA256, read_tensors, write_tensors

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool]
DTYPES += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8]


@given(
    shapes=st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3)),
        max_size=6,
    ),
    header=st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4),
)
def test_the_library_reads_what_was_written(tmp_path_factory, shapes, header):
    path = tmp_path_factory.mktemp("file") / "a.safetensors"
    tensors = {name: torch.randint(0, 2, shape).to(dtype) for name, (dtype, shape) in shapes.items()}
    write_tensors(path, tensors, header)
    found = load_file(path)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
    with safe_open(path, framework="pt") as file:
        held = file.metadata()
    assert held == header | {SHA256: held[SHA256]}
    again, _ = read_tensors(path, remedy="")
    assert again.keys() == tensors.keys()


def test_views_and_shared_memory_are_written_as_they_look(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "a", {"whole": whole, "turned": whole.T, "row": whole[1]})
    found = load_file(tmp_path / "a")
    assert torch.equal(found["turned"], whole.T) and torch.equal(found["row"], whole[1])


def test_the_same_content_is_the_same_file_in_any_order(tmp_path):
    tensors, header = {"b": torch.ones(2), "a": torch.ones(3, dtype=torch.int64)}, {"x": "1", "y": "2", "z": "3"}
    write_tensors(tmp_path / "a", tensors, header)
    write_tensors(tmp_path / "b", dict(reversed(tensors.items())), dict(reversed(header.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_type_that_a_file_cannot_hold_is_refused(tmp_path):
    with pytest.raises(PccloraError, match="'a' is torch.complex64; a file holds F64, F32"):
        write_tensors(tmp_path / "a", {"a": torch.zeros(2, dtype=torch.complex64)})
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "a.safetensors"
    generator = torch.Generator().manual_seed(0)
    tensors = {"a": torch.rand(5, 7, generator=generator), "b": torch.arange(9), "c": torch.tensor(3.0)}
    write_tensors(path, tensors, {"counters": json.dumps({"epoch": 3})})
    return path.read_bytes()


@given(st.data())
@settings(max_examples=300)
def test_any_flipped_bit_is_found(written, tmp_path_factory, data):
    path, flipped = tmp_path_factory.mktemp("flip") / "a.safetensors", bytearray(written)
    bit = data.draw(st.integers(0, 8 * len(written) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        tensors, header = read_tensors(path, remedy="copy it again")
    except PccloraError as error:
        assert str(path) in str(error) and "copy it again" in str(error)
        return
    assert SHA256 not in header, "the content changed, and the checksum holds"  # the entry's own name was hit
    assert len(tensors) == 3
