"""Runs and adapters that are given away and fetched: what goes out, what does not, and that it predicts the same."""

import json
import platform
import shutil

import pytest
import torch
import yaml

import pcclora
from pcclora.adapters.files.card import CARD
from pcclora.adapters.files.folder import CONFIG, TENSORS
from pcclora.errors import PccloraError
from pcclora.hub import HubName
from pcclora.runs.adapt import train
from pcclora.runs.publish import files_to_share, pull, push
from pcclora.runs.reload import TrainedRun
from pcclora.tasks.registry import load_run_config
from tests.runs.test_predict import write_objects
from tests.tools.test_tools import TINY, call

NAME = HubName("me/mine")
CLOUDS = {"config.yaml", "versions.json", "summary.json", "orientation.json", "likeness.safetensors", CARD}
INSIDE = {f"adapter/{CONFIG}", f"adapter/{TENSORS}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run on scans of the user's, from a base checkpoint of the user's."""
    place = tmp_path_factory.mktemp("secret_customer")
    for name in ("cup", "mug"):
        write_objects(place / "scans" / name, "z", 14)
    base = pcclora.create_model("point_mae_tiny", num_classes=2, **_model())
    torch.save(base.state_dict(), place / "base.pth")
    words = ["data=folder", f"data.root={place / 'scans'}", "data.up=z", f"checkpoint={place / 'base.pth'}"]
    run = train(load_run_config(TINY / "cls.yaml", [*words, "train.epochs=1", "train.batch_size=4"]), place / "run")
    return run.path


def probabilities(place, scans, **options):
    found = pcclora.load_run(place, **options).predict(scans)
    return [(one.classes, one.probabilities.tolist()) for one in found]


def _model():
    return {k: v for k, v in yaml.safe_load((TINY / "cls.yaml").read_text())["model"].items() if k != "name"}


def test_what_goes_out_is_what_prediction_needs_and_says_nothing_of_the_machine(folder):
    files = files_to_share(folder, NAME)
    assert files.keys() == CLOUDS | INSIDE
    place = folder.parent
    for words in (str(place), place.name, "scans", "secret", platform.platform(), "processor"):
        assert not [path for path, content in files.items() if words.encode() in content], words
    for words in (b"cup", b"base.pth"):  # what its user needs
        assert words in files["config.yaml"] or words in files["summary.json"]
    assert files[f"adapter/{TENSORS}"] == (folder / "adapter" / TENSORS).read_bytes()


def test_a_run_comes_back_and_predicts_the_same(folder, hub, tmp_path):
    address = push(folder, NAME, licence="apache-2.0")
    assert address.startswith(f"{hub.address}/me/mine/commit/") and set(hub.newest("me/mine")) >= CLOUDS | INSIDE
    mine = pull(NAME, tmp_path / "in" / "mine")
    scans, moved = write_objects(tmp_path / "new", "z", 3), str(folder.parent / "base.pth")
    expected = probabilities(folder, scans)
    for place in (mine, "hub:me/mine"):
        assert probabilities(place, scans, checkpoint=moved) == expected
        config = TrainedRun.open(place).config
        assert config.data.up == "z" and config.data.root == ""
    with pytest.raises(PccloraError, match="checkpoint base.pth: no such file; if it has moved, say where"):
        pcclora.load_run(mine)
    hub.stop()
    assert probabilities("hub:me/mine", scans, checkpoint=moved) == expected
    model = pcclora.create_model("point_mae_tiny", num_classes=2, checkpoint=moved, **_model())
    assert pcclora.load_adapter(model, "hub:me/mine").config.r == 2


def test_the_card_says_all_and_its_figures_are_those_of_the_summary(folder):
    library = pytest.importorskip("huggingface_hub")
    summary = json.loads((folder / "summary.json").read_text())
    versions = json.loads((folder / "versions.json").read_text())
    for text in ((folder / "adapter" / CARD).read_text(), files_to_share(folder, NAME)[CARD].decode()):
        card = library.ModelCard(text)
        found = {result.metric_type: result.metric_value for result in card.data.eval_results}
        assert found == {name: round(value, 6) for name, value in summary["metrics"].items()}
        for words in ("cup, mug", "base.pth", versions["base"]["fingerprint"], summary["checkpoint_sha256"]):
            assert words in card.text
        for words in (*summary["data_sha256"].values(), "axis is z", "that of the data you bring", "augmentation"):
            assert words in card.text
    assert (
        "--run hub:me/mine --checkpoint base.pth" in card.text
        and "--run RUN" in (folder / "adapter" / CARD).read_text()
    )


def test_a_licence_stands_where_the_hub_reads_it(folder):
    library = pytest.importorskip("huggingface_hub")
    assert library.ModelCard(files_to_share(folder, NAME, licence="mit")[CARD].decode()).data.license == "mit"
    assert library.ModelCard(files_to_share(folder, NAME)[CARD].decode()).data.license is None


def test_words_of_ones_own_go_out_as_they_are(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "adapter" / CARD).write_text("# Mine\n")
    assert files_to_share(tmp_path / "run", NAME)[CARD] == b"# Mine\n"


def test_an_adapter_alone_goes_out_and_comes_back(hub, tmp_path):
    model = pcclora.create_model("point_mae_tiny", num_classes=4, pretrained=True)
    pcclora.attach(model, pcclora.LoRAConfig(r=2, target_modules=("blocks.*.attn.proj",)))
    pcclora.save_adapter(model, tmp_path / "mine")
    push(tmp_path / "mine", NAME, private=True)
    assert set(hub.newest("me/mine")) >= {CONFIG, TENSORS, CARD} and hub.private == {"me/mine"}
    assert b'pcclora.load_adapter(model, "hub:me/mine")' in hub.newest("me/mine")[CARD]
    assert {file.name for file in pull(NAME, tmp_path / "back").iterdir()} == {CONFIG, TENSORS, CARD}
    for place in (tmp_path / "back", "hub:me/mine", "hub:me/mine@main"):
        fresh = pcclora.create_model("point_mae_tiny", num_classes=4, pretrained=True)
        pcclora.load_adapter(fresh, place)
        points = torch.rand(2, 256, 3)
        assert torch.equal(fresh.eval()(points), model.eval()(points))


def test_a_place_of_the_base_that_peft_wrote_down_stays_at_home(tmp_path):
    model = pcclora.create_model("point_mae_tiny", num_classes=4)
    pcclora.attach(model, pcclora.LoRAConfig(target_modules=("blocks.*.attn.proj",)))
    pcclora.save_adapter(model, tmp_path)
    held = json.loads((tmp_path / CONFIG).read_text()) | {"base_model_name_or_path": "/home/me/models/base"}
    (tmp_path / CONFIG).write_text(json.dumps(held))
    with pytest.warns(UserWarning, match="base_model_name_or_path"):
        files = files_to_share(tmp_path, NAME)
    assert json.loads(files[CONFIG])["base_model_name_or_path"] == "base"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pytorch_model.bin": b"x"}, "hub:me/other: holds neither a run nor an adapter of pcclora"),
        ({f"adapter/{TENSORS}": b"x"}, "adapter_model.safetensors: "),
        ({TENSORS: b"x" * 100, CONFIG: b"{}"}, "adapter_model.safetensors: "),
    ],
)
def test_what_is_none_or_damaged_is_not_pulled(content, message, hub, tmp_path):
    hub.files["me/other"], hub.refs["me/other"] = {}, {}
    hub.commit("me/other", "main", content)
    with pytest.raises(PccloraError, match=message) as caught:
        pull(HubName("me/other"), tmp_path / "back")
    assert ".partial" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_place_that_is_taken_is_not_fetched_into(hub, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(PccloraError, match="is there already and is never overwritten"):
        pull(NAME, tmp_path / "mine")
    assert not hub.asked


def test_what_is_no_run_is_not_pushed(hub, tmp_path):
    with pytest.raises(PccloraError, match="not a run folder"):
        push(tmp_path, NAME)
    assert not hub.asked


def test_the_commands_say_what_they_do(folder, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call("push", folder, "me/mine", "--dry-run")
    assert "would go to hub:me/mine" in capsys.readouterr().out and not hub.asked
    call("push", folder, "hub:me/mine", "--private")
    shown = capsys.readouterr().out
    assert f"pushed: {hub.address}/me/mine/commit/" in shown and "FILE --run hub:me/mine\n" in shown
    call("pull", "me/mine")
    assert "FILE --run mine\n" in capsys.readouterr().out and (tmp_path / "mine" / "config.yaml").is_file()
    scan = write_objects(tmp_path / "new", "z", 1)[0]
    call("predict", scan, "--run", "mine", "--checkpoint", folder.parent / "base.pth")
    alone = capsys.readouterr().out
    call("predict", scan, "--run", "hub:me/mine", "--checkpoint", folder.parent / "base.pth")
    assert alone and capsys.readouterr().out == alone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "kind", "words"),
    [
        (
            "partseg",
            "point-cloud-segmentation",
            ["of the most frequent part |", "- chair: ", "Apache-2.0, as the project"],
        ),
        ("image", "image-classification", ["predict photo.jpg --run RUN", "CC BY 4.0", "16 x 16 pixels"]),
    ],
)
def test_the_cards_of_other_tasks(task, kind, words, tmp_path):
    library = pytest.importorskip("huggingface_hub")
    run = train(load_run_config(TINY / f"{task}.yaml", ["train.epochs=1"]), tmp_path / "run")
    card = library.ModelCard.load(run.adapter / CARD)
    assert {result.task_type for result in card.data.eval_results} == {kind}
    assert card.data.pipeline_tag == (kind if task == "image" else None)
    assert [word for word in words if word not in card.text] == [], card.text
