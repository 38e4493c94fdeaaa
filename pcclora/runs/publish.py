"""A finished run or a saved adapter given away by the hub, and fetched from it.

What goes out is what prediction needs: the adapter, the configuration, the summary, how the training clouds lie, a
card. No path of this machine goes with it, nor where the data lie, nor what the machine is.
"""

import json
import shutil
from pathlib import Path

from pcclora.adapters.files.card import CARD, read_card
from pcclora.adapters.files.folder import CONFIG, INSIDE, TENSORS, read_files
from pcclora.atomic import creating_folder, read_json, refuse_existing
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.hub import HubName, fetch, send
from pcclora.paths import is_file
from pcclora.runs import orientation
from pcclora.runs.card import run_card
from pcclora.runs.likeness import FILE as LIKENESS
from pcclora.runs.pack import ADAPTER, TEXTS, without_places
from pcclora.tasks.registry import load_run_config

SHARED = (CARD, CONFIG, TENSORS, *TEXTS, orientation.FILE, LIKENESS, *ADAPTER)
"""The files of an adapter and of a run that are fetched."""


def files_to_share(path: Path, name: HubName, *, licence: str = "") -> dict[str, bytes]:
    """Return what goes out of a folder, by the paths that it gets on the hub.

    Args:
        path: A finished run, or an adapter of :func:`~pcclora.adapters.save_adapter`.
        name: Where it goes; its card says how to load it from there.
        licence: Under which it is given away, in the hub's words as ``apache-2.0``; written at the head of the card.

    Raises:
        PccloraError: If it is neither, or damaged.
    """
    files, card = _of_adapter(path, name) if is_file(path / TENSORS) else _of_run(RunFolder.open(path), name)
    texts = {**files, CARD: _licensed(card, licence)}
    return {where: held if isinstance(held, bytes) else held.encode() for where, held in texts.items()}


def push(path: Path, name: HubName, *, private: bool = False, licence: str = "") -> str:
    """Put a run or an adapter on the hub, in one commit.

    Args:
        path: As for :func:`files_to_share`.
        name: The repository; it is made if it is not there.
        private: Make it one that only its owner sees; a public one that is there is refused.
        licence: As for :func:`files_to_share`.

    Returns:
        The address of the commit.

    Raises:
        PccloraError: If there is nothing to give away, the hub cannot be reached, or nothing may be written there.
    """
    files = files_to_share(path, name, licence=licence)
    return send(name, files, private=private, message="Adapter and card, by pcclora")


def pull(name: HubName, output: Path) -> Path:
    """Fetch a run or an adapter into a folder of its own.

    Args:
        name: The repository.
        output: The folder; it must not hold anything yet.

    Raises:
        PccloraError: If it cannot be fetched, is neither or is damaged; nothing is left then.
    """
    refuse_existing(output)
    found = fetch(name, SHARED)
    with creating_folder(output) as temporary:
        for file in (file for file in SHARED if is_file(found / file)):
            (temporary / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(found / file, temporary / file)
        if is_file(temporary / TENSORS):
            read_files(temporary)
        elif is_file(temporary / INSIDE / TENSORS):
            read_files(temporary / INSIDE)
            run = RunFolder.open(temporary)
            load_run_config(run.config)
            run.read_summary()
        else:
            raise PccloraError(f"{name}: holds neither a run nor an adapter of pcclora")
    return output


def _of_run(run: RunFolder, name: HubName) -> tuple[dict[str, bytes | str], str]:
    files: dict[str, bytes | str] = {**without_places(run)}
    own, _ = _of_adapter(run.adapter, name)
    files |= {f"{INSIDE}/{where}": content for where, content in own.items()}
    files |= {name: (run.path / name).read_bytes() for name in (orientation.FILE, LIKENESS) if is_file(run.path / name)}
    card, is_own = read_card(run.adapter)
    if not is_own:
        base = run.read_versions()["base"]
        card = run_card(
            load_run_config(run.config), run.read_summary(), base.get("fingerprint"), where=str(name)
        ).text()
    return files, card


def _of_adapter(path: Path, name: HubName) -> tuple[dict[str, bytes | str], str]:
    read_files(path)  # a damaged one is not given away
    files: dict[str, bytes | str] = {TENSORS: (path / TENSORS).read_bytes()}
    if is_file(path / CONFIG):
        held = read_json(path / CONFIG)
        if base := held.get("base_model_name_or_path"):  # peft writes the folder of the base there
            held["base_model_name_or_path"] = Path(base).name if Path(base).is_absolute() else base
        files[CONFIG] = json.dumps(held, indent=2) + "\n"
    card = read_card(path)[0] or "---\nlibrary_name: pcclora\n---\n"
    return files, card.replace('"FOLDER"', f'"{name}"')


def _licensed(card: str, licence: str) -> str:
    """Return a card with a licence at its head."""
    if not licence:
        return card
    from huggingface_hub import ModelCard

    try:
        held = ModelCard(card)
    except ValueError as error:
        raise PccloraError(f"{CARD}: its first lines cannot be read: {error}; mend them, or delete it") from error
    held.data["license"] = licence
    return str(held)
