"""The card of a finished run: base, data, protocol, figures, licences, how it is used; no path of the machine."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pcclora.adapters.files.card import OWN_LICENCE, Card, front_matter
from pcclora.data import DataConfig
from pcclora.registry import ADAPTERS, DATASETS, MODELS
from pcclora.runs.build import NAMED_WEIGHTS
from pcclora.runs.report import CONSTANT, adapter_of, label_of, protocol_of
from pcclora.shipped import card as card_of_data
from pcclora.tasks.settings import AdaptationRun, ImageRun
from pcclora.text import visible

_HUB_TASKS = {
    "cls": "point-cloud-classification",
    "partseg": "point-cloud-segmentation",
    "image": "image-classification",
}
_LINK = re.compile(r"\[(.*?)\]\(.*?\)")
_LICENCE = re.compile(r"^\| licence \| (.*?) \|$", re.MULTILINE)


def run_card(config: AdaptationRun, summary: Mapping[str, Any], fingerprint: str | None, *, where: str = "") -> Card:
    """Return all that is to be said of a run to someone who has only its files.

    Args:
        config: Its configuration.
        summary: What summary.json says, or will say.
        fingerprint: Of the base weights.
        where: What to load it by, as ``hub:owner/name``; without it, its folder.
    """
    method = ADAPTERS.name_of(config.adapter)
    return Card(
        title=f"{MODELS.name_of(config.model)} adapted to {summary['data']} by {method}",
        meta=_meta(config, summary, method, where),
        sections={
            "": f"Task: {summary['task']}. Method: `{adapter_of(summary['adapter'])}`. {_trained(summary)}",
            "Classes": _classes(summary),
            "Base": _base(config, summary, fingerprint),
            "Data and protocol": _data(config, summary),
            "Figures": _figures(summary),
            "Use": _use(config, where or "RUN"),
            "Licence": _licences(config),
        },
    )


def _meta(config: AdaptationRun, summary: Mapping[str, Any], method: str, where: str) -> dict[str, Any]:
    meta = front_matter(method)
    if isinstance(config, ImageRun):
        meta["pipeline_tag"] = _HUB_TASKS["image"]
    if config.checkpoint == "pretrained":  # timm's weights are repositories of the hub, under the models' own names
        meta |= {"base_model": MODELS.name_of(config.model), "base_model_relation": "adapter"}
    results = {
        "task": {"type": _HUB_TASKS[config.task], "name": summary["task"]},
        "dataset": {"type": DATASETS.name_of(config.data), "name": summary["data"], "split": "test"},
        "metrics": [
            {"type": name, "name": label_of(name), "value": round(value, 6)}
            for name, value in summary["metrics"].items()
        ],
    }
    return meta | {"model-index": [{"name": where.rpartition("/")[2] or method, "results": [results]}]}


def _trained(summary: Mapping[str, Any]) -> str:
    held = summary["parameters"]
    return f"Trained: {held['trained']:,} of {held['total']:,} numbers ({held['share']:.2%})."


def _classes(summary: Mapping[str, Any]) -> str:
    classes, parts = summary["classes"], summary.get("parts")
    if parts is None:
        return visible(", ".join(classes))
    names, of_class = parts["names"], parts["of_class"]
    lines = [f"- {name}: {', '.join(names[i] for i in own)}" for name, own in zip(classes, of_class, strict=True)]
    return "\n".join(map(visible, lines))


def _base(config: AdaptationRun, summary: Mapping[str, Any], fingerprint: str | None) -> str:
    sha256 = summary.get("checkpoint_sha256")
    origin = {
        "bundled": "Its weights come with pcclora.",
        "none": f"Its weights are random, drawn from seed {config.seed}: pcclora draws them again.",
        "pretrained": f"Its weights are timm's, fetched from its hub: `{MODELS.name_of(config.model)}`.",
    }.get(
        config.checkpoint,
        f"Its weights are the file `{Path(config.checkpoint).name}`, which is not in here: get it where its authors "
        "publish it (docs/checkpoints.md of pcclora names the released ones), and say where it is by `--checkpoint`.",
    )
    lines = [f"`{MODELS.name_of(config.model)}`. {origin}", ""]
    lines += [f"- sha256 of the file: `{sha256}`"] if sha256 else []
    lines += [f"- fingerprint of the frozen weights: `{fingerprint}`; on any others the adapter is refused"]
    return "\n".join(lines)


def _data(config: AdaptationRun, summary: Mapping[str, Any]) -> str:
    samples, digests = summary["samples"], summary.get("data_sha256", {})
    up = "" if isinstance(config, ImageRun) else f" Their vertical axis is {config.data.up or 'y'}."
    lines = [f"`{summary['data']}`: trained on {samples['train']:,} objects, tested on {samples['test']:,}.{up}", ""]
    lines += [f"- sha256 over the {side} objects: `{digest}`" for side, digest in digests.items()]
    return "\n".join([*lines, "", f"Protocol: {protocol_of(summary)}."])


def _figures(summary: Mapping[str, Any]) -> str:
    rows = [f"| {label_of(name)} | {value:.2%} |" for name, value in summary["metrics"].items()]
    rows += [f"| {label_of(name)} of the {CONSTANT} | {v:.2%} |" for name, v in summary.get("constant", {}).items()]
    return "\n".join(["On the test objects:", "", "| | |", "|---|---|", *rows])


def _use(config: AdaptationRun, where: str) -> str:
    file = "photo.jpg" if isinstance(config, ImageRun) else "scan.ply"
    moved = "" if config.checkpoint in NAMED_WEIGHTS else f" --checkpoint {Path(config.checkpoint).name}"
    python = "" if not moved else f', checkpoint="{Path(config.checkpoint).name}"'
    return (
        f"```bash\npcclora predict {file} --run {where}{moved}\n```\n\n"
        f'```python\nimport pcclora\n\nrun = pcclora.load_run("{where}"{python})\nfound = run.predict("{file}")\n```'
    )


def _licences(config: AdaptationRun) -> str:
    base = {"bundled": "Apache-2.0, as pcclora.", "none": "random numbers."}.get(
        config.checkpoint, "that of the weights named above."
    )
    data = _licence_of(config.data)
    return f"- {OWN_LICENCE}\n- The base weights: {base}\n- The data: {data}"


def _licence_of(data: DataConfig) -> str:
    """Return what the card of a data set says of its licence."""
    name = DATASETS.name_of(data)
    for folder in (name, f"{name}{getattr(data, 'classes', '')}"):
        if (file := card_of_data(folder)).is_file() and (found := _LICENCE.search(file.read_text(encoding="utf-8"))):
            return _LINK.sub(r"\1", found[1]) + "."
    return "that of its source."
