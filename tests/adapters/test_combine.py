"""Weighted sums of adapters, against the weights that each makes when it is merged, and against peft."""

import copy

import pytest
import torch

import pcclora
from pcclora import adapters as ad
from pcclora.errors import PccloraError
from tests.adapters.backbones import BACKBONES, fused_vit
from tests.adapters.cases import METHODS, config
from tests.adapters.files import assert_unchanged, moved, state_of

SUMS = [m for m in METHODS if m.startswith(("clora", "lora", "moslora", "fact", "vera"))]
ALONE = ["consolidator", "consolidator_slices", "linear", "bitfit", "full"]
NO_SUMS = ["dora", "arc", "repadapter", "ssf", "adapter", "adaptformer", "vpt_deep", "pointlora", "pointlora_plain"]


def two(a, b, backbone="point_mae_tiny", dtype=torch.float64):
    """A model with two adapters, every number of them moved."""
    model, x = BACKBONES[backbone]()
    model, x = model.to(dtype), x.to(dtype)
    for name, method in (("a", a), ("b", b)):
        torch.manual_seed(len(name) + ord(name))
        ad.attach(model, config(method, backbone), name=name)
        for tensor in ad.adapter_tensors(model, name).values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return model.eval(), x


def merged_state(model, name):
    """The weights of a plain model with an adapter in them."""
    plain = copy.deepcopy(model)
    ad.set_adapter(plain, name)
    if plain.adapters[name].merges_into:
        ad.merge(plain)
    ad.detach(plain)
    return plain.state_dict()


def expected(model, weights):
    """W0 + sum_i w_i (W_i - W0) of every number of the model, from the merged weights alone."""
    base = copy.deepcopy(model)
    ad.detach(base)
    base = base.state_dict()
    found = {key: value.clone() for key, value in base.items()}
    for name, weight in weights.items():
        own = merged_state(model, name)
        for key, value in own.items():
            if value.is_floating_point():  # a bias that merging makes was zero
                found[key] = found.get(key, torch.zeros_like(value)) + weight * (value - base.get(key, 0))
    return found


def assert_is_the_sum(model, weights, *, tolerance=1e-12):
    wanted = expected(model, weights)
    pcclora.combine(model, weights, name="mixed")
    found = merged_state(model, "mixed")
    for key, value in found.items():
        if value.is_floating_point():
            assert (value - wanted[key]).abs().max() <= tolerance * wanted[key].abs().max().clamp_min(1), key
    assert wanted.keys() == found.keys()


@pytest.mark.parametrize("method", SUMS)
def test_any_two_low_rank_adapters_are_summed_in_the_merged_weights(method):
    model, _ = two(method, "lora_slices")
    assert_is_the_sum(model, {"a": 0.7, "b": -0.4})


@pytest.mark.parametrize("method", ALONE)
def test_what_adds_its_parameters_is_summed_with_its_own_kind(method):
    model, _ = two(method, method)
    assert_is_the_sum(model, {"a": 1.5, "b": 0.25})


@pytest.mark.parametrize("backbone", ["mlp", "timm_split_vit", "part_segmenter"])
def test_other_models(backbone):
    if backbone.startswith("timm"):
        pytest.importorskip("timm")
    model, _ = two("clora_slices", "lora", backbone)
    assert_is_the_sum(model, {"a": 0.5, "b": 0.5})


def test_it_computes_saves_loads_and_is_exported_as_plain_lora(tmp_path):
    model, x = two("clora", "moslora_slices", "fused_vit", torch.float32)
    mixed = pcclora.combine(model, {"a": 0.7, "b": 0.3}, name="mixed")
    assert isinstance(mixed, ad.LoRA) and model.adapters.active == "mixed"
    y = model(x)
    ad.merge(model)
    torch.testing.assert_close(model(x), y, rtol=1e-4, atol=1e-5)
    ad.unmerge(model)
    ad.save_adapter(model, tmp_path)
    fresh, _ = fused_vit()
    fresh.load_state_dict({k: v for k, v in _base(model).items() if not k.startswith("adapters.")})
    ad.load_adapter(fresh.eval(), tmp_path)
    assert torch.equal(fresh(x), y)


def _base(model):
    plain = copy.deepcopy(model)
    ad.detach(plain)
    return plain.state_dict()


def test_of_lora_it_is_what_peft_concatenates():
    peft = pytest.importorskip("peft", reason="peft is not installed (pip install pcclora[peft])")
    options = {"target_modules": ["qkv", "proj"], "modules_to_save": []}
    theirs = peft.get_peft_model(fused_vit()[0], peft.LoraConfig(r=3, lora_alpha=5, **options), adapter_name="a")
    theirs.add_adapter("b", peft.LoraConfig(r=2, lora_alpha=2, **options))
    generator = torch.Generator().manual_seed(0)
    ours, x = fused_vit()
    targets = ("blocks.*.attn.qkv", "blocks.*.attn.proj")
    ad.attach(ours, ad.LoRAConfig(r=3, lora_alpha=5, target_modules=targets, modules_to_save=()), name="a")
    ad.attach(ours, ad.LoRAConfig(r=2, lora_alpha=2, target_modules=targets, modules_to_save=()), name="b")
    for name in "ab":
        for module in ours.adapters[name].acts_on:
            layer = theirs.get_submodule(f"base_model.model.{module}")
            (share,) = ours.adapters[name].shares[module]
            own = ours.adapters[name].groups[share.group]
            for factor, place in (("A", layer.lora_A[name]), ("B", layer.lora_B[name])):
                value = torch.rand(place.weight.shape, generator=generator)
                place.weight.data.copy_(value)
                getattr(own, factor).data[share.members.start].copy_(value)
    theirs.add_weighted_adapter(["a", "b"], [0.7, 0.3], "mixed", combination_type="cat")
    theirs.set_adapter("mixed")
    pcclora.combine(ours, {"a": 0.7, "b": 0.3}, name="mixed")
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)


def test_a_head_is_taken_or_summed():
    model, _ = two("clora", "lora", "fused_vit")
    heads = {name: {k: v for k, v in ad.adapter_tensors(model, name).items() if k.startswith("head")} for name in "ab"}
    original = {key: model.adapters.original(key) for key in heads["a"]}
    pcclora.combine(model, {"a": 0.7, "b": 0.7}, name="taken", head="b")
    pcclora.combine(model, {"a": 0.7, "b": 0.7}, name="summed")
    taken, summed = (ad.adapter_tensors(model, name) for name in ("taken", "summed"))
    for key, base in original.items():
        assert torch.equal(taken[key], heads["b"][key])
        if base.is_floating_point():
            wanted = base + 0.7 * (heads["a"][key] - base) + 0.7 * (heads["b"][key] - base)
            torch.testing.assert_close(summed[key], wanted)
    assert not torch.equal(taken["head.0.weight"], summed["head.0.weight"])


def test_what_only_one_of_them_trains_counts_by_its_weight():
    model, _ = fused_vit()
    ad.attach(model, ad.LoRAConfig(r=2, modules_to_save=("cls_token",)), name="a")
    ad.attach(model, ad.CLoRAConfig(r=2, modules_to_save=()), name="b")
    moved(model, "a")
    start, own = model.adapters.original("cls_token"), ad.adapter_tensors(model, "a")["cls_token"]
    pcclora.combine(model, {"a": 0.25, "b": 1}, name="mixed")
    torch.testing.assert_close(ad.adapter_tensors(model)["cls_token"], start + 0.25 * (own - start))


@pytest.mark.parametrize("method", NO_SUMS)
def test_what_is_no_sum_is_refused_by_name(method):
    model, _ = two("clora", method, dtype=torch.float32)
    before = state_of(model)
    named = method.removesuffix("_plain")
    with pytest.raises(PccloraError, match=f"adapter 'b': what '{named}' does is no sum of low-rank updates"):
        pcclora.combine(model, {"a": 0.5, "b": 0.5})
    assert_unchanged(model, before)
    assert model.adapters.active == "b" and list(model.adapters) == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "weights", "options", "message"),
    [
        (("clora", "lora"), {}, {}, "no adapter to combine"),
        (("clora", "lora"), {"a": 1, "c": 1}, {}, "no adapter 'c'"),
        (("clora", "lora"), {"a": float("nan"), "b": 1}, {}, "the weight of adapter 'a' is nan"),
        (("clora", "lora"), {"a": 1, "b": 1}, {"head": "c"}, "head is 'c', which is not combined; choose of a, b"),
        (("clora", "lora"), {"a": 1, "b": 1}, {"name": "a"}, "has an adapter 'a' already"),
        (("clora", "bitfit"), {"a": 1, "b": 1}, {}, "adapter 'b': what 'bitfit' does .* but its own kind"),
        (("bitfit", "full"), {"a": 1, "b": 1}, {}, "'bitfit' is combined with its own method and the same settings"),
        (("linear", "linear"), {"a": -20, "b": -20}, {}, "running_var' of these adapters has a negative sum"),
    ],
)
def test_what_cannot_be_combined_is_one_sentence(kind, weights, options, message):
    model, _ = two(*kind, "fused_vit")
    before = state_of(model)
    with pytest.raises(PccloraError, match=message):
        pcclora.combine(model, weights, **options)
    assert_unchanged(model, before)
    assert model.adapters.active == "b"


def test_a_target_of_one_that_another_trains_is_refused():
    model, _ = fused_vit()
    ad.attach(model, ad.LoRAConfig(target_modules=("blocks.*.attn.proj",)), name="a")
    ad.attach(
        model, ad.CLoRAConfig(modules_to_save=("blocks.0.attn.proj",), target_modules=("blocks.1.attn.proj",)), name="b"
    )
    before = state_of(model)
    with pytest.raises(PccloraError, match=r"'blocks.0.attn.proj.weight' is a target and in modules_to_save"):
        pcclora.combine(model, {"a": 1, "b": 1})
    assert_unchanged(model, before)
    assert model.adapters.active == "b"


def test_a_merged_one_is_refused_and_the_rng_stays():
    model, _ = two("clora", "lora", "fused_vit")
    ad.merge(model)
    with pytest.raises(PccloraError, match="adapter 'b' is merged; unmerge it"):
        pcclora.combine(model, {"a": 1, "b": 1})
    ad.unmerge(model)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    pcclora.combine(model, {"a": 1, "b": 1})
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.blocks[0].attn.proj.weight.data.add_(1), "trained on other base weights"),
        (lambda model: setattr(model, "head", torch.nn.Linear(8, 3)), "missing .*head"),
    ],
)
def test_an_adapter_of_other_weights_or_classes_never_meets_the_others(change, message, tmp_path):
    """Adapters of one model are of one base, since loading compares: combining needs no word of its own for it."""
    model, _ = two("clora", "lora", "fused_vit", torch.float32)
    ad.save_adapter(model, tmp_path, name="a")
    other, _ = fused_vit()
    change(other)
    with pytest.raises(PccloraError, match=message):
        ad.load_adapter(other, tmp_path)
