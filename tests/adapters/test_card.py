"""README.md of a saved adapter."""

import pytest
import torch

from pcclora import adapters as ad
from pcclora.adapters.files.card import CARD
from pcclora.adapters.files.folder import CONFIG, TENSORS
from tests.adapters.backbones import fused_vit
from tests.adapters.files import saved


def test_a_saved_adapter_says_what_it_is(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    model, _ = saved(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {CARD, CONFIG, TENSORS}
    card = hub.ModelCard.load(tmp_path / CARD)
    assert card.data.library_name == "pcclora" and "clora" in card.data.tags
    own = sum(p.numel() for p in model.adapters["default"].parameters())
    beside = sum(p.numel() for p in model.parameters() if p.requires_grad) - own
    assert f"holds {own:,} numbers of its own, and {beside:,} of tensors" in card.text
    assert ad.base_fingerprint(model) in card.text and "`r=2`, `bases=2`" in card.text
    assert 'pcclora.load_adapter(model, "FOLDER")' in card.text


def test_an_adapter_on_peft_form_has_one_too_and_a_second_save_replaces_it(tmp_path):
    saved(tmp_path, "lora")
    assert "Method `lora`" in (tmp_path / CARD).read_text()
    saved(tmp_path, "bitfit")
    assert "Method `bitfit`" in (tmp_path / CARD).read_text()


@pytest.mark.parametrize("words", [b"# My project\n", b"", b"\xff\xfe---"])
def test_words_of_ones_own_stay(words, tmp_path):
    (tmp_path / CARD).write_bytes(words)
    saved(tmp_path)
    assert (tmp_path / CARD).read_bytes() == words


def test_a_card_made_ones_own_stays(tmp_path):
    saved(tmp_path)
    lines = (tmp_path / CARD).read_text().splitlines()
    mine = "\n".join([*(line for line in lines if "Written by pcclora" not in line), "Mine."])
    (tmp_path / CARD).write_text(mine)
    saved(tmp_path, "lora")
    assert (tmp_path / CARD).read_text() == mine


def test_a_folder_without_a_card_or_with_a_broken_one_loads(tmp_path):
    model, x = saved(tmp_path)
    for spoil in (lambda file: file.write_bytes(b"\xff\xfe---"), lambda file: file.unlink()):
        spoil(tmp_path / CARD)
        fresh, _ = fused_vit()
        ad.load_adapter(fresh.eval(), tmp_path)
        assert torch.equal(fresh(x), model(x))
