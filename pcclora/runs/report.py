"""A run's summary as a table of at most 80 columns, with the protocol that its numbers were made by."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pcclora.adapters import AdapterConfig
from pcclora.engine.run_folder import RunFolder
from pcclora.registry import ADAPTERS
from pcclora.runs.answers import answers_of, surest
from pcclora.runs.predict import ClassPrediction
from pcclora.runs.robustness import corruption_lines
from pcclora.runs.segmented import SegmentedCloud
from pcclora.text import short, tail

Figure = float | Mapping[str, Any]
"""A number of summary.json: of one run, or mean and spread of several."""
WIDTH = 80
CONSTANT = "most frequent part"
MOST_WRONG = 5
"""Wrong answers that a table names; gallery.png and predictions.csv have more."""


def run_table(summary: Mapping[str, Any], folder: Path) -> str:
    """Return the final table of a run, or of several seeds of it.

    Args:
        summary: summary.json; with several seeds a number is ``{"mean", "std", "values", ...}``.
        folder: Where it lies.
    """
    parameters, gmacs = summary["parameters"], summary["gmacs"]
    rows = [
        ("data", f"{summary['data']} ({summary['samples']['train']} train / {summary['samples']['test']} test)"),
        ("model", f"{summary['model']}, weights: {weights_of(summary)}"),
        ("adapter", adapter_of(summary["adapter"])),
        *_figures(summary),
        *_calibration(summary),
        ("trained parameters", f"{parameters['trained']:,} of {parameters['total']:,} ({parameters['share']:.2%})"),
        ("GMACs carried out", f"{gmacs['total']:.4g}"),
        ("GMACs as papers count", f"{gmacs['literature']:.4g} (published form, no attention products)"),
        ("training", f"{_number(summary['train_seconds'])} s, {_number(summary['seconds_per_epoch'])} s an epoch"),
        ("peak memory", f"{_number(summary['peak_memory_mb'])} MB"),
        ("adapter folder", f"{summary['adapter_bytes'] / 1000:.1f} kB"),
        *_pictures(folder),
    ]
    return _table(rows, protocol_of(summary), folder, _wrong_answers(folder))


def evaluation_table(summary: Mapping[str, Any], folder: Path, *, output: Path | None = None) -> str:
    """Return the table of a run that was evaluated again.

    Args:
        summary: As :func:`~pcclora.runs.evaluate.evaluate_run` gives it.
        folder: The run.
        output: Where the evaluation was written, if it was.
    """
    rows = [
        ("data", f"{summary['data']} ({sum(summary['samples'].values())} samples)"),
        ("model", f"{summary['model']}, weights: {weights_of(summary)}"),
        ("adapter", adapter_of(summary["adapter"])),
        *_figures(summary),
        *_calibration(summary),
        *_pictures(output),
    ]
    corrupted = corruption_lines(summary["corruptions"]) if "corruptions" in summary else []
    return _table(rows, protocol_of(summary), folder, corrupted, _wrong_answers(output))


def prediction_table(predictions: Mapping[str, Mapping[str, float]], *, top: int = 3) -> str:
    """Return a line a file with its most probable classes.

    Args:
        predictions: File -> class -> probability, the most probable class first.
        top: How many classes.
    """
    wide = min(max(len(file) for file in predictions), 40)
    return "".join(
        f"{tail(file, wide):<{wide}}  " + "  ".join(f"{name} {p:.1%}" for name, p in list(classes.items())[:top]) + "\n"
        for file, classes in predictions.items()
    )


def class_answers(predictions: Iterable[ClassPrediction]) -> dict[str, dict[str, Any]]:
    """Return of each prediction, by its source, its ``classes`` with probabilities and how ``unlike`` it is.

    The latter is the share of training objects that are nearer to one another; null where the run does not know.
    """
    held = list(predictions)
    shares = class_shares(held)
    return {
        one.source: {
            "classes": shares[one.source],
            "unlike": None if one.unlike is None else round(one.unlike, 3),
        }
        for one in held
    }


def class_shares(predictions: Iterable[ClassPrediction]) -> dict[str, dict[str, float]]:
    """Return of each prediction class -> probability, the most probable class first, by its source."""
    return {
        one.source: {name: round(float(p), 6) for name, p in zip(one.classes, one.probabilities, strict=True)}
        for one in predictions
    }


def part_shares(clouds: Iterable[SegmentedCloud]) -> dict[str, Any]:
    """Return for each predicted cloud, by its source, the points of each part and how sure it is of them."""
    found: dict[str, Any] = {}
    for cloud in clouds:
        if cloud.prediction is None or cloud.confidence is None:
            continue
        held = {cloud.part_names[part]: cloud.prediction == part for part in cloud.parts}
        parts = {
            name: {"points": int(own.sum()), "confidence": round(float(cloud.confidence[own].mean()), 6)}
            for name, own in held.items()
            if own.any()
        }
        found[cloud.source] = {"category": cloud.category, "points": len(cloud.points), "parts": parts}
    return found


def parts_table(shares: Mapping[str, Any]) -> str:
    """Return a line a part of each file: its share of the points, and how sure the prediction is of them.

    Args:
        shares: From :func:`part_shares`.
    """
    lines = []
    for file, held in shares.items():
        lines.append(f"{file}: {held['category']}, {held['points']:,} points\n")
        for name, part in held["parts"].items():
            share = part["points"] / held["points"]
            lines.append(f"  {name:<30}{share:>7.1%} of the points, mean probability {part['confidence']:.2f}\n")
    return "".join(lines)


def pretraining_table(summary: Mapping[str, Any], folder: Path) -> str:
    """Return the final table of a pre-training run.

    Args:
        summary: summary.json.
        folder: Where it lies.
    """
    rows = [
        ("data", f"{summary['data']} ({summary['samples']['train']} train)"),
        ("model", summary["model"]),
        *(
            (name.replace("_", " "), f"{value:.5f} ({summary['criterion']})")
            for name, value in summary["metrics"].items()
        ),
        ("parameters", f"{summary['parameters']['total']:,}"),
        ("training", f"{_number(summary['train_seconds'])} s"),
        ("peak memory", f"{_number(summary['peak_memory_mb'])} MB"),
    ]
    return _table(rows, protocol_of(summary), folder)


def weights_of(summary: Mapping[str, Any]) -> str:
    """Return the name of a run's base checkpoint, and the beginning of its file's sha256."""
    sha256 = summary.get("checkpoint_sha256")
    return Path(summary["checkpoint"]).name + (f", sha256 {sha256[:12]}" if sha256 else "")


def _pictures(folder: Path | None) -> list[tuple[str, str]]:
    names = [file.name for file in sorted(folder.glob("*.png"))] if folder else []
    return [("pictures", ", ".join(names))] if names else []


def _wrong_answers(path: Path | None) -> list[str]:
    """Return the wrong answers that a run of classes is surest of, a line each; of anything else nothing."""
    folder = RunFolder(path or Path())
    if path is None or not folder.predictions.is_file() or "categories" in folder.read_summary(evaluation=True):
        return []
    wrong = surest(answers_of(folder), right=False)
    shown = wrong[:MOST_WRONG]
    said = [f"{answer.confidence:>5.0%}  {short(answer.truth, 18)} -> {short(answer.guess, 18)}" for answer in shown]
    wide = max(map(len, said), default=0) + 2
    names = [tail(answer.name or f"test object {answer.index}", WIDTH - wide) for answer in shown]
    heading = f"{len(wrong)} wrong answer{'s' * (len(wrong) > 1)}{', the surest of them' * (len(wrong) > len(shown))}"
    lines = [f"{words:<{wide}}{name}" for words, name in zip(said, names, strict=True)]
    return [f"{heading}: true class -> predicted class, file", *lines] if lines else []


def _table(rows: list[tuple[str, str]], protocol: str, folder: Path, *further: Sequence[str]) -> str:
    line, wide = "─" * WIDTH, max(len(name) for name, _ in rows) + 2
    body = [piece for name, value in rows for piece in _wrap(name, value, min(wide, 46))]
    notes = textwrap.wrap(f"protocol: {protocol}", WIDTH)
    sections = [piece for lines in further if lines for piece in (*lines, line)]
    return "\n".join([line, *body, line, *sections, *notes, f"folder: {folder}", line]) + "\n"


def _wrap(name: str, value: str, wide: int) -> list[str]:
    names, values = textwrap.wrap(name, wide - 2), textwrap.wrap(value, WIDTH - wide)
    count = max(len(names), len(values))
    left, right = names + [""] * (count - len(names)), values + [""] * (count - len(values))
    return [f"{a:<{wide}}{b}".rstrip() for a, b in zip(left, right, strict=True)]


def _figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(label_of(name), _percent(value)) for name, value in summary["metrics"].items()]
    if "categories" not in summary:
        return rows
    floor = ", ".join(f"{label_of(name)} {value:.2%}" for name, value in summary["constant"].items())
    categories = [f"{name} {_mean(held['iou']):.1%}" for name, held in summary["categories"].items()]
    return [*rows, (CONSTANT, floor), ("mIoU by category", ", ".join(categories))]


def _calibration(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how far confidence and accuracy are apart, and what temperature was fitted to which data."""
    if "calibration" not in summary:
        return []
    held = summary["calibration"]
    if not held["fitted_on"]:
        return [("calibration error", f"{held['error']:.2%} (no temperature: the run has no validation data)")]
    fitted = f"temperature {held['temperature']:.3g}, fitted to {held['fitted_on']} samples of split {held['split']}"
    return [("calibration error", f"{held['error']:.2%} ({fitted}; without it {held['error_before']:.2%})")]


def adapter_of(adapter: Mapping[str, Any]) -> str:
    """Return an adapter's name and what of its settings belongs into a table: what its method says; all, if unknown."""
    name = adapter["name"]
    known: Iterable[str] = [key for key in adapter if key != "name"]
    if ADAPTERS.names(name):
        config = cast("type[AdapterConfig]", ADAPTERS.get(name).config)
        known = [*config.shown, *(key for key in config.later if key not in config.still_default(adapter))]
    return " ".join([name, *(f"{key}={adapter[key]}" for key in known if key in adapter)])


def label_of(metric: str) -> str:
    """Return a metric's name in words: ``accuracy_votes_10`` -> ``accuracy (mean of 10 votes)``."""
    name, _, held = metric.partition("_votes_")
    votes, _, draws = held.partition("_best_of_")
    chosen = name.endswith("_best_on_test")
    notes = ["best epoch chosen on the test set"] * chosen + [f"mean of {votes} votes"] * bool(votes)
    notes += [f"best of {draws} draws, chosen on the test set"] * bool(draws)
    return name.removesuffix("_best_on_test").replace("_", " ").replace("miou", "mIoU") + (
        f" ({', '.join(notes)})" if notes else ""
    )


def _percent(value: Figure) -> str:
    if not isinstance(value, Mapping):
        return f"{value:.2%}"
    if value["std"] is None:
        return f"{value['mean']:.2%}"
    return f"{100 * value['mean']:.2f} ± {100 * value['std']:.2f} %"


def _number(value: Figure) -> str:
    return f"{_mean(value):,.1f}"


def _mean(value: Figure) -> float:
    return float(value["mean"] if isinstance(value, Mapping) else value)


def protocol_of(summary: Mapping[str, Any]) -> str:
    """Return how a summary's numbers were made, in words."""
    held = dict(summary["protocol"])
    words = [f"augmentation {held['augmentation']}"]
    words += [f"{held['points']} points"] if "points" in held else []
    words += [f"with {' and '.join(held['features'])}"] if "features" in held else []
    words += [f"{held['size']} x {held['size']} pixels by {held['interpolation']}"] if "size" in held else []
    words += [f"mean {held['mean']}, std {held['std']} ({held['normalization']})"] if "mean" in held else []
    words += [f"{held['votes'] or 'no'} votes"] if "votes" in held else []
    words += [f"weights of the {held['selection']}"] if "selection" in held else []
    words += [_epochs(held)] if "epochs" in held else []
    words += [f"{held[key]} {key.replace('_', ' ')}" for key in ("sampler", "class_weights") if key in held]
    match held.get("seed"):
        case list(seeds):
            words += [f"mean ± sample std of seeds {', '.join(map(str, seeds))}"]
        case int(seed):
            words += [f"seed {seed}"]
    words += [describe_choice(summary["search"])] if "search" in summary else []
    return ", ".join(words)


def _epochs(protocol: Mapping[str, Any]) -> str:
    epochs, stopped = protocol["epochs"], protocol.get("stopped_after")
    if stopped is None:
        return f"{epochs} epochs"
    ends = ", ".join(map(str, stopped)) if isinstance(stopped, list) else stopped
    return f"stopped after {ends} of {epochs} epochs"


def describe_choice(search: Mapping[str, Any], *, point: bool = True) -> str:
    """Return a sentence that says how settings were chosen.

    Args:
        search: search.json, from :func:`pcclora.studies.grid.choose`.
        point: Say also which.
    """
    which = f"{' '.join(search['chosen'])} " if point else ""
    return (
        f"{which}chosen on {search['on']} validation images, trained on {search['trained_on']} others, from "
        f"{len(search['points'])} points"
    )
