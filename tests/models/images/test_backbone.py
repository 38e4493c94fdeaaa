"""Vision transformers by name: they are timm's own, every parameter lives, what cannot be adapted is refused."""

import copy
import dataclasses
import pickle

import pytest
import timm
import torch
from timm.data import resolve_data_config

import pcclora
from pcclora.errors import PccloraError
from pcclora.models import TimmConfig, create_model, image_input, list_models, read_checkpoint
from pcclora.models.images import from_timm
from pcclora.models.load import bundled_weights
from pcclora.registry import MODELS

TINY = {"depth": 2, "embed_dim": 24, "num_heads": 3}
CASES = {
    "timm/vit_tiny_patch16_224": TINY | {"img_size": 32},
    "timm/deit_tiny_patch16_224": TINY | {"img_size": 32},
    "timm/deit_tiny_distilled_patch16_224": TINY | {"img_size": 32},
    "timm/vit_small_patch14_reg4_dinov2": TINY | {"img_size": 28},
    "timm/eva02_base_patch16_clip_224": TINY | {"img_size": 32},
    "vit_mini": TINY | {"img_size": 16},
}


@pytest.fixture(params=CASES)
def made(request):
    """A tiny model and images (4, 3, S, S) for it."""
    torch.manual_seed(0)
    options = CASES[request.param]
    return create_model(request.param, num_classes=5, **options), torch.randn(4, 3, *[options["img_size"]] * 2)


def bare(model):
    """The same network, from timm alone, with the same weights."""
    options = dataclasses.asdict(model.config)
    architecture = options.pop("architecture", None)
    if architecture is None:
        twin = timm.models.VisionTransformer(num_classes=5, global_pool="avg", fc_norm=False, **options)
    else:
        twin = timm.create_model(architecture, num_classes=5, **options)
    twin.load_state_dict(model.state_dict())
    return twin


def test_it_is_timms_own_model(made):
    model, images = made
    twin = bare(model)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert isinstance(model, type(twin))
    assert torch.equal(model.eval()(images), twin.eval()(images))


def test_every_parameter_gets_a_gradient(made):
    model, images = made
    logits = model(images)
    assert logits.shape == (4, 5)
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, key


def test_declares_what_adapters_and_tools_read(made):
    model, images = made
    assert (model.task, model.num_classes, model.holds) == ("cls", 5, "images")
    assert model.modules_to_save == model.head_names
    assert all(isinstance(model.get_submodule(name), torch.nn.Linear) for name in model.head_names)
    features = model.eval().features(images)
    assert features.shape == (4, 24 * len(model.head_names))
    torch.testing.assert_close(model.classify(features), model(images), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("placement", ["weight", "input"])
def test_an_adapter_on_its_default_targets_lives(made, placement):
    model, images = made
    adapter = pcclora.attach(model.eval(), pcclora.CLoRAConfig(r=2, bases=2, placement=placement))
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    model(images).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in adapter.parameters())


def test_a_copy_is_a_model_of_its_own(made):
    model, images = made
    model.eval()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(twin) is type(model) and torch.equal(twin(images), model(images))


def test_names_of_the_two_heads_of_a_distilled_deit():
    model = create_model("timm/deit_tiny_distilled_patch16_224", **CASES["timm/deit_tiny_distilled_patch16_224"])
    assert model.head_names == ("head", "head_dist")


def test_a_config_knows_its_name():
    assert MODELS.name_of(TimmConfig("vit_tiny_patch16_224")) == "timm/vit_tiny_patch16_224"
    assert MODELS.name_of(create_model("vit_mini").config) == "vit_mini"


def test_vit_mini_has_the_documented_widths():
    model = create_model("vit_mini", num_classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_205_898
    assert image_input(model.config) == pcclora.models.ImageInput(32, (0.5,) * 3, (0.5,) * 3, "bicubic", 1.0)


@pytest.mark.parametrize(
    "name",
    [
        "vit_base_patch16_224.augreg_in21k",
        "deit_base_patch16_224",
        "vit_small_patch14_dinov2",
        "vit_base_patch16_clip_224",
    ],
)
def test_the_expected_input_is_timms(name):
    found, expected = (
        image_input(TimmConfig(name)),
        resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()),
    )
    assert (3, found.size, found.size) == expected["input_size"]
    assert (found.mean, found.std, found.crop) == (expected["mean"], expected["std"], expected["crop_pct"])
    assert found.interpolation == expected["interpolation"]


def test_bundled_weights():
    stored = read_checkpoint(bundled_weights("vit_mini"))
    state = create_model("vit_mini", pretrained=True).state_dict()
    trunk = {key for key in state if not key.startswith("head.")}
    assert {key for key in stored if not key.startswith(("decoder_", "mask_token"))} == trunk
    for key in trunk:
        assert torch.equal(state[key], stored[key].to(state[key].dtype)), key


def test_the_expected_input_can_be_chosen():
    config = TimmConfig("deit_tiny_patch16_224", img_size=64)
    assert image_input(config).size == 64
    assert image_input(config, normalization="half").mean == (0.5, 0.5, 0.5)
    assert image_input(create_model("vit_mini").config, normalization="imagenet").std == (0.229, 0.224, 0.225)
    with pytest.raises(PccloraError, match="normalization is 'halv'; choose model, half or imagenet"):
        image_input(config, normalization="halv")
    with pytest.raises(PccloraError, match="model 'point_mae' takes no images"):
        image_input(MODELS.get("point_mae").config())


def test_architectures_are_listed_when_they_are_asked_for(monkeypatch):
    assert {"timm/vit_base_patch16_224", "timm/deit_base_distilled_patch16_224"} <= set(list_models("timm/*"))
    assert all(name.startswith("timm/deit_tiny") for name in list_models("timm/deit_tiny*"))
    monkeypatch.setattr(from_timm, "import_timm", lambda: pytest.fail("timm is imported"))
    assert list_models("*") == list_models() and "vit_mini" in list_models()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "timm/vit_bse_patch16_224",
            {},
            "unknown timm architecture 'vit_bse_patch16_224'; did you mean 'vit_base_patch16_224'",
        ),
        ("timm/xyzzy", {}, r"list_models\('timm/\*'\) has the names"),
        ("timm/vit_tiny_patch16_224.augreg", {}, "no weights 'augreg'; it has vit_tiny_patch16_224.augreg_in21k"),
        ("timm", {}, "unknown model 'timm'.*timm/<architecture>"),
        ("timm/resnet18", {}, r"\(ResNet\) is no vision transformer that can be adapted: it lacks attention"),
        ("timm/volo_d1_224", {}, "or one linear head"),
        ("timm/vit_tiny_patch16_224", {"depht": 2}, "did you mean 'depth'"),
        ("timm/vit_tiny_patch16_224", {"depth": 0}, "depth is 0"),
        ("timm/vit_tiny_patch16_224", {"drop_path_rate": 1.0}, "drop_path_rate is 1.0"),
        (
            "timm/vit_tiny_patch16_224",
            {"embed_dim": 100, "num_heads": 3},
            "embed_dim 100 is not divisible by num_heads 3",
        ),
        ("timm/vit_tiny_patch16_224", {"embed_dim": 100}, "cannot be built so: dim should be divisible by num_heads"),
        ("timm/cait_xxs24_224", {"patch_size": 16, "img_size": 8}, "img_size 8 is not divisible by patch_size 16"),
        ("timm/vit_tiny_patch16_224", {"task": "partseg"}, "no head for the task 'partseg', only for cls"),
        ("timm/vit_tiny_patch16_224", {"num_classes": 0}, "num_classes is 0"),
        ("vit_mini", {"depth": 10**7}, "depth is 10,000,000, up to 65,536"),
        ("vit_mini", {"embed_dim": 4 * 10**6}, "embed_dim is 4,000,000, up to 65,536"),
        ("timm/vit_tiny_patch16_224", {"depth": 10**7}, "depth is 10,000,000, up to 65,536"),
        ("timm/vit_tiny_patch16_224", {"checkpoint": "bundled"}, "no bundled weights"),
        ("vit_mini", {"checkpoint": "pretrained"}, "model 'vit_mini' has no weights on a hub"),
        ("vit_mini", {"img_size": 30}, "img_size 30 is not divisible by patch_size 4"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(PccloraError, match=message):
        create_model(name, **options)


def test_a_model_that_reads_its_weights_past_the_module_is_refused_when_it_is_adapted():
    model = create_model("timm/beit_base_patch16_224", num_classes=5, **TINY, img_size=32)
    with pytest.raises(PccloraError, match="reads its weight without calling it"):
        pcclora.attach(model, pcclora.LoRAConfig(r=2))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(PccloraError, match=r"timm is not installed: pip install 'pcclora\[image\]'"):
        create_model("vit_mini")


def test_a_torchvision_of_another_torch_is_explained(monkeypatch, tmp_path):
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "timm")
    with pytest.raises(PccloraError, match="nms does not exist.*install a pair of one release"):
        create_model("timm/vit_tiny_patch16_224")
