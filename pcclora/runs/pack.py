"""A finished run as one file, to send or to deploy: what predicting needs of its folder, and perhaps the base weights.

A pack is a zip archive whose members are stored as they are::

    pack.json           the form, the base checkpoint, and the sha256 of every other member
    config.yaml         without the folder of the data, and of the checkpoint only its name, as in the two after it
    versions.json       of the libraries, without the machine
    summary.json        the names of classes and parts, and the figures
    adapter/            what was trained
    orientation.json    how the training clouds lie, where that is known
    likeness.safetensors  features of training objects, where there are some
    weights.safetensors the base weights, if they were asked for

The comment of the archive has the sha256 of pack.json. So a pack that was cut or changed anywhere is refused.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, cast

from torch import Tensor

from pcclora.adapters.files.folder import CONFIG, INSIDE, TENSORS
from pcclora.atomic import parse_json, refuse_existing, replacing, write_json, write_text
from pcclora.config import to_yaml
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.paths import check_regular, file_sha256
from pcclora.runs.build import NAMED_WEIGHTS
from pcclora.runs.likeness import FILE as LIKENESS
from pcclora.runs.orientation import FILE as ORIENTATION
from pcclora.tasks.registry import load_run_config
from pcclora.tensor_file import write_tensors

SUFFIX = ".pcclora"
WEIGHTS = "weights.safetensors"
_MANIFEST, _FORMAT, _MARK = "pack.json", 1, "pcclora pack sha256 "
TEXTS = ("config.yaml", "versions.json", "summary.json")
"""The files of :func:`without_places`."""
ADAPTER = (f"{INSIDE}/{CONFIG}", f"{INSIDE}/{TENSORS}")
_NEEDED = (*TEXTS, *ADAPTER)
_KNOWN = (*_NEEDED, ORIENTATION, LIKENESS, WEIGHTS)
_FORM = {
    "format": int,
    "base": {"checkpoint": str, "sha256": (str, None), "fingerprint": (str, None)},
    "files": {"*": str},
}
_LARGEST_MANIFEST = 2**16
_CHUNK = 2**20


def write_pack(folder: RunFolder, output: Path, staging: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write a finished run into one new file.

    Args:
        folder: The run.
        output: The file; it must not be there.
        staging: An empty folder for what is made for the pack.
        weights: The base weights by their names in the model, to be packed too.

    Raises:
        PccloraError: If the run is not finished, or something is there already.
    """
    refuse_existing(output)
    known = _base_of(folder)
    for name, text in without_places(folder).items():
        write_text(staging / name, text)
    if weights is not None:
        write_tensors(staging / WEIGHTS, weights)
    found = {name: path for name in _KNOWN for path in (folder.path / name, staging / name) if path.is_file()}
    manifest = {"format": _FORMAT, "base": known, "files": {name: file_sha256(path) for name, path in found.items()}}
    write_json(staging / _MANIFEST, manifest)
    with replacing(output) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, path in {_MANIFEST: staging / _MANIFEST, **found}.items():
            _store(archive, name, path)
        archive.comment = (_MARK + file_sha256(staging / _MANIFEST)).encode()


def read_pack(path: Path, folder: Path) -> None:
    """Fill a folder with the run of a pack, as a run folder of what predicting needs.

    Nothing of a member's name becomes a path: each must be one of the names that a pack has.

    Args:
        path: The pack.
        folder: An empty folder.

    Raises:
        PccloraError: If it is no pack, was cut or changed, or another version wrote it.
    """
    check_regular(path)
    (folder / INSIDE).mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            files = _checked(archive, path)
            for name, sha256 in files.items():
                if _take_out(archive, name, folder / name) != sha256:
                    raise PccloraError(f"{path}: {name} is not what was packed: {_DAMAGED}")
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        if isinstance(error, PccloraError):
            raise
        raise PccloraError(f"{path}: neither a run folder nor a whole pack of one ({error}): {_DAMAGED}") from error


_DAMAGED = "it was cut or changed; copy it again, or pack the run again (pcclora pack RUN)"


def _checked(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """Return the sha256 of each member by its name, after a look at what there is."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if names[:1] != [_MANIFEST] or not archive.comment.startswith(_MARK.encode()):
        raise PccloraError(f"{path}: a zip archive, but no pack of a run (pcclora pack RUN makes one)")
    stored = sum(member.file_size for member in members)
    plain = all(member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1 for member in members)
    if not plain or stored > path.stat().st_size or members[0].file_size > _LARGEST_MANIFEST:
        raise PccloraError(f"{path}: its members are not stored as a pack has them: {_DAMAGED}")
    text = archive.read(_MANIFEST)
    if archive.comment != (_MARK + hashlib.sha256(text).hexdigest()).encode():
        raise PccloraError(f"{path}: {_MANIFEST} is not what was packed: {_DAMAGED}")
    held = parse_json(text.decode(), f"{path}: {_MANIFEST}")
    check_form(held, {"format": int}, f"{path}: {_MANIFEST}", remedy=_DAMAGED)
    if held["format"] != _FORMAT:
        raise PccloraError(
            f"{path}: its form is {held['format']}, this version reads {_FORMAT}; use that which wrote it"
        )
    check_form(held, _FORM, f"{path}: {_MANIFEST}", remedy=_DAMAGED)
    files = cast("dict[str, str]", held["files"])
    if sorted(names) != sorted([_MANIFEST, *files]) or not set(_NEEDED) <= files.keys() <= set(_KNOWN):
        raise PccloraError(f"{path}: has other members than a pack has: {_DAMAGED}")
    return files


def _take_out(archive: zipfile.ZipFile, name: str, target: Path) -> str:
    sha256 = hashlib.sha256()
    with archive.open(name) as member, target.open("xb") as file:
        while block := member.read(_CHUNK):
            sha256.update(block)
            file.write(block)
    return sha256.hexdigest()


def _store(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    entry = zipfile.ZipInfo(name)  # its own date, which is the same for all: equal runs make equal packs
    entry.external_attr = 0o644 << 16
    with path.open("rb") as file, archive.open(entry, "w", force_zip64=path.stat().st_size >= 2**31) as member:
        while block := file.read(_CHUNK):
            member.write(block)


def without_places(folder: RunFolder) -> dict[str, str]:
    """Return the three text files that predicting needs of a run, without what is nobody's business.

    They do not say in which folders data and base checkpoint lie, which are not there elsewhere, nor what the machine
    is.

    Args:
        folder: A finished run.

    Returns:
        Name of a file -> its text, in the form of a run folder.

    Raises:
        PccloraError: If it is not finished, or damaged.
    """
    summary, base, config = folder.read_summary(), _base_of(folder), load_run_config(folder.config)
    data: Any = config.data
    if data.root:
        data = replace(data, root="")
    libraries = {key: value for key, value in folder.read_versions().items() if key in ("python", "torch", "pcclora")}
    return {
        "config.yaml": to_yaml(replace(config, checkpoint=_named(config.checkpoint), data=data)),
        "versions.json": _json({**libraries, "base": base}),
        "summary.json": _json({**summary, "checkpoint": base["checkpoint"]}),
    }


def _base_of(folder: RunFolder) -> dict[str, Any]:
    base = folder.read_versions()["base"]
    known = {key: base.get(key) for key in ("sha256", "fingerprint")}
    return {"checkpoint": _named(base["checkpoint"]), **known}


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def _named(checkpoint: str) -> str:
    return checkpoint if checkpoint in NAMED_WEIGHTS else f"./{PurePath(checkpoint).name}"
