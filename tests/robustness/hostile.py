"""Files that want to run something, to open something, or to write something: none of it may happen when they are read.

Each comes with the reader that it is meant for. What they would touch are traps: see :class:`Traps`.
"""

import builtins
import functools
import importlib
import io
import json
import logging
import operator
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import joblib
import numpy as np
import torch

from pcclora.data.readers.images import IMAGE_SUFFIXES
from tests.robustness import kinds, run_kinds
from tests.robustness.guard import Answer
from tests.robustness.kinds import write

SECRET = 7731.25


class LeakError(Exception):
    """What was read holds the secret."""


class Traps:
    """What a hostile file reaches for.

    Attributes:
        canary: A file that only a program of the hostile file makes.
        secret: A file that the hostile file points to; nobody else opens it.
        pipe: A named pipe: who opens it hangs.
        script: A Python file that makes the canary.
    """

    def __init__(self, home: Path) -> None:
        self.canary, self.secret = home / "canary.npy", home / "secret.txt"
        self.pipe, self.script, self.programs = home / "pipe", home / "evil.py", home / "bin"
        self.secret.write_text(f"{SECRET} {SECRET} {SECRET}\n" * 64)
        os.mkfifo(self.pipe)
        self.script.write_text(f"open({str(self.canary)!r}, 'w').close()\n")
        self.programs.mkdir()
        for name in ("gs", "gswin64c", "convert", "magick", "ffmpeg", "laszip", "assimp", "blender", "sh", "touch"):
            program = self.programs / name
            program.write_text(f'#!/bin/sh\n/bin/touch "{self.canary}"\n')
            program.chmod(0o755)

    def set(self) -> None:
        """Make the secret look unread: the next reading sets its time of access."""
        self.canary.unlink(missing_ok=True)
        os.utime(self.secret, (0, 1))

    @property
    def sprung(self) -> list[str]:
        """What happened."""
        found = ["a program ran"] if self.canary.exists() else []
        return found + (["a file elsewhere was opened"] if self.secret.stat().st_atime != 0 else [])


class Hostile(NamedTuple):
    """A hostile file: its name, what makes it in a folder, and who reads it."""

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], Answer]


def watched(read: Callable[[Path], Answer], folder: Path) -> Answer:
    """Read, and look for the secret in what was read."""
    answer = read(folder)
    for value in answer.values():
        array = np.asarray(value)
        numbers = array.dtype.kind in "fiu" and (array == SECRET).any()
        if numbers or (array.dtype.kind in "US" and str(SECRET) in "".join(map(str, array.ravel()))):
            raise LeakError
    return answer


class Call:
    """Pickled, it is the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def payloads(traps: Traps) -> dict[str, Call]:
    """Calls that make the canary, each by a function that somebody might have forgotten."""
    canary, touch = str(traps.canary), f"touch '{traps.canary}'"
    return {
        "os.system": Call(os.system, touch),
        "subprocess.Popen": Call(subprocess.Popen, ["/bin/touch", canary]),
        "os.posix_spawn": Call(os.posix_spawn, "/bin/touch", ["touch", canary], {}),
        "eval": Call(builtins.eval, f"open({canary!r}, 'w')"),
        "exec": Call(builtins.exec, f"open({canary!r}, 'w')"),
        "open": Call(io.open, canary, "w"),
        "FileIO": Call(io.FileIO, canary, "w"),
        "methodcaller": Call(operator.methodcaller("touch"), Path(canary)),
        "partial": Call(functools.partial(io.open, canary), "w"),
        "getattr": Call(getattr, Call(importlib.import_module, "os"), "system"),
        "shutil.copy": Call(shutil.copy, str(traps.secret), canary),
        "os.mkdir": Call(os.mkdir, canary),
        "os.symlink": Call(os.symlink, "/", canary),
        "FileHandler": Call(logging.FileHandler, canary),
        "numpy.save": Call(np.save, canary, 1),
        "numpy.load": Call(np.load, str(traps.secret)),
        "numpy.memmap": Call(np.memmap, canary, "u1", "w+", 0, 1),
        "torch.save": Call(torch.save, 1, canary),
        "torch.load": Call(torch.load, str(traps.secret)),
        "joblib.dump": Call(joblib.dump, 1, canary),
    }


def in_numpy(payload: Any) -> np.ndarray:
    held = np.empty((1, 3), object)
    held[0, 0] = payload
    return held


def pickled(payload: Call, protocol: int) -> Iterator[Hostile]:
    """One call in everything that can hold a pickle."""
    fold = {"train": [(payload, 0, 1)], "test": [(payload, 1, 2)]}
    dat = [[payload], [np.array([0])]]
    weights = {"model": {"cls_token": payload}}
    array = in_numpy(payload)
    name = "modelnet40_train_8192pts_fps.dat"
    scan, read_dat, read_weights = kinds.one_scan, kinds.SETS["dat"].read, run_kinds.load_weights
    yield Hostile("dat", partial(write, name, pickle.dumps(dat, protocol)), read_dat)
    yield Hostile("fold", partial(write, "2way_1shot/0.pkl", pickle.dumps(fold, protocol)), kinds.episode)
    yield Hostile("bare pth", partial(write, "a.pth", pickle.dumps(weights, protocol)), read_weights)
    yield Hostile("pth", lambda folder: torch.save(weights, folder / "a.pth"), read_weights)
    old = {"_use_new_zipfile_serialization": False}
    yield Hostile("old pth", lambda folder: torch.save(weights, folder / "a.pth", **old), read_weights)
    yield Hostile("npy", lambda folder: np.save(folder / "a.npy", array), scan)
    yield Hostile("npz", lambda folder: np.savez(folder / "a.npz", points=array), scan)
    yield Hostile("npz weights", lambda folder: np.savez(folder / "a.npz", cls_token=array), read_weights)
    yield Hostile("joblib", lambda folder: joblib.dump(dat, folder / name), read_dat)


def opcodes(traps: Traps) -> Iterator[Hostile]:
    """Pickles that no pickler writes."""
    touch = f"touch '{traps.canary}'".encode()
    held = {
        "global": b"cposix\nsystem\n(S" + repr(touch.decode()).encode() + b"\ntR.",
        "inst": b"(S" + repr(touch.decode()).encode() + b"\niposix\nsystem\n.",
        "obj": b"(cposix\nsystem\nS" + repr(touch.decode()).encode() + b"\no.",
        "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93X"
        + len(touch).to_bytes(4, "little")
        + touch
        + b"\x85R.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93)R.",
        "dotted out": b"\x80\x04\x8c\x05numpy\x8c\x1adtype.__init__.__globals__\x93.",
        "old eval": b"c__builtin__\neval\n(S\"open('" + bytes(traps.canary) + b"', 'w')\"\ntR.",
        "build": b"\x80\x02cnumpy\nndarray\n)\x81}X\x05\x00\x00\x00shapeK\x01sb.",
        "newobj": b"\x80\x02csubprocess\nPopen\nX\x04\x00\x00\x00true\x85\x81.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pposix.system\n.",
        "encode": b"c_codecs\nencode\n(S'x'\nS'../../evil'\ntR.",
    }
    for name, content in held.items():
        file = "modelnet40_train_8192pts_fps.dat"
        yield Hostile(f"opcodes {name}, dat", partial(write, file, content), kinds.SETS["dat"].read)
        yield Hostile(f"opcodes {name}, fold", partial(write, "2way_1shot/0.pkl", content), kinds.episode)
        yield Hostile(f"opcodes {name}, pth", partial(write, "a.pth", b"\x80\x02" + content), run_kinds.load_weights)


def documents(traps: Traps) -> Iterator[Hostile]:
    """YAML and JSON that name Python, the environment, or each other without end."""
    touch = f"touch '{traps.canary}'"
    tags = {
        "apply": f'!!python/object/apply:os.system ["{touch}"]',
        "new": f'!!python/object/new:os.system ["{touch}"]',
        "popen": f'!!python/object/apply:subprocess.Popen [["/bin/touch", "{traps.canary}"]]',
        "long tag": f'!<tag:yaml.org,2002:python/object/apply:os.system> ["{touch}"]',
        "name": "!!python/name:os.system",
        "module": "!!python/module:this",
        "eval": f"!!python/object/apply:eval [\"open('{traps.canary}', 'w')\"]",
        "target": f'{{_target_: os.system, _args_: ["{touch}"]}}',
        "environment": "${oc.env:PCCLORA_SECRET}",
        "decode": "${oc.decode:${oc.env:PCCLORA_SECRET}}",
        "laughs": "&a [" + "x, " * 9 + "x]",
    }
    for name, tag in tags.items():
        read = partial(run_kinds.config, "cls")
        for key in ("checkpoint", "adapter", "data"):
            yield Hostile(f"yaml {name}, {key}", partial(write, "a.yaml", f"{key}: {tag}\n"), read)
        made = partial(write, "parts.yaml", f"bed: {tag}\n")
        yield Hostile(f"yaml {name}, parts", made, kinds.SETS["part_folder"].read)
    levels = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    bomb = partial(write, "parts.yaml", f"a: &a [{', '.join('x' * 9)}]\n{levels}")
    yield Hostile("yaml of a billion names", bomb, kinds.SETS["part_folder"].read)
    plugin = {"plugin": str(traps.script), "model": {"name": str(traps.script)}}
    yield Hostile("yaml plugin", partial(write, "a.yaml", json.dumps(plugin)), partial(run_kinds.config, "cls"))
    classes = (
        {"__class__": "posix.system", "__args__": [touch]},
        {"py/object": "posix.system", "py/reduce": [touch]},
        {"py/reduce": [{"py/type": "posix.system"}, {"py/tuple": [touch]}]},
        {"_target_": "os.system", "command": touch},
        {"auto_mapping": {"base_model_class": "system", "parent_library": "os"}},
    )
    for number, content in enumerate(classes):
        seg = partial(write_into, kinds.SETS["seg_classes.json"].make, "seg_classes.json", content)
        yield Hostile(f"json class {number}, seg_classes", seg, kinds.SETS["seg_classes.json"].read)
        into = partial(write_into, partial(run_kinds.save_adapter, "lora"), "adapter/adapter_config.json", content)
        yield Hostile(f"json class {number}, adapter", into, run_kinds.load_adapter)
    for pattern in ("(a+)+$", "(.*a){25}x", "*" * 60 + "x"):
        content = {"peft_type": "LORA", "target_modules": pattern, "r": 2}
        into = partial(write_into, partial(run_kinds.save_adapter, "lora"), "adapter/adapter_config.json", content)
        yield Hostile(f"json pattern {pattern[:9]}", into, run_kinds.load_adapter)


def write_into(make: Callable[[Path], object], name: str, content: object, folder: Path) -> None:
    make(folder)
    write(name, json.dumps(content), folder)


def images(traps: Traps) -> Iterator[Hostile]:
    """Files that are programs, or documents that name other files, under the names of images."""
    post_script = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n({traps.secret}) run\nshowpage\n"
    binary = b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + len(post_script).to_bytes(4, "little") + bytes(18)
    svg = (
        f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file://{traps.secret}">'
        f'<!ENTITY p SYSTEM "file://{traps.pipe}">]><svg xmlns="http://www.w3.org/2000/svg"><text>&x;&p;</text></svg>'
    )
    for suffix in IMAGE_SUFFIXES:
        yield Hostile(f"PostScript{suffix}", partial(write, f"a{suffix}", post_script), kinds.one_image)
    yield Hostile("binary PostScript", partial(write, "a.png", binary + post_script.encode()), kinds.one_image)
    yield Hostile("PDF", partial(write, "a.png", b"%PDF-1.4\n1 0 obj <</OpenAction 2 0 R>>\n"), kinds.one_image)
    for name in ("a.png", "a.webp", "a.gif"):
        yield Hostile(f"SVG {name}", partial(write, name, svg), kinds.one_image)
    for name in ("a.ply", "a.obj", "a.off", "a.stl", "a.pcd", "a.gltf", "a.txt"):
        yield Hostile(f"XML {name}", partial(write, name, svg), kinds.one_scan)
    for name, target in (("a.png", traps.pipe), ("a.jpg", "/dev/zero"), ("a.png", "/dev/random")):
        link = partial(link_to, name, target)
        yield Hostile(f"image link to {Path(target).name}", link, kinds.one_image)
    for name, target in (("a.ply", traps.pipe), ("a.txt", "/dev/zero"), ("a.npy", "/dev/random"), ("a.txt", "a.txt")):
        link = partial(link_to, name, target)
        yield Hostile(f"{name} a link to {Path(target).name}", link, kinds.one_scan)


def link_to(name: str, target: object, folder: Path) -> None:
    (folder / name).symlink_to(str(target))


def references(traps: Traps) -> Iterator[Hostile]:
    """Files that point to other files, and archives whose members have names elsewhere."""
    for target in (traps.secret, traps.pipe):
        obj = f"mtllib {target}\ncall {target}\ncsh touch {traps.canary}\nusemtl m\n"
        obj += "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
        yield Hostile(f"obj mtllib {target.name}", partial(write, "a.obj", obj), kinds.one_scan)
        ply = kinds.ply("ascii").replace(b"comment own", f"comment TextureFile {target}".encode())
        yield Hostile(f"ply texture {target.name}", partial(write, "a.ply", ply), kinds.one_scan)
        for uri in (str(target), f"file://{target}", f"../{target.name}", f"%2e%2e/{target.name}"):
            tree = {
                "asset": {"version": "2.0"},
                "scenes": [{"nodes": [0]}],
                "nodes": [{"mesh": 0}],
                "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}],
                "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
                "bufferViews": [{"buffer": 0, "byteLength": 36}],
                "buffers": [{"uri": uri, "byteLength": 36}],
                "images": [{"uri": uri}],
            }
            yield Hostile(f"gltf {uri[:9]} {target.name}", partial(write, "a.gltf", json.dumps(tree)), kinds.one_scan)
    for kind in ("external link", "external storage", "virtual", "soft link", "loop"):
        made = partial(h5_elsewhere, kind, traps.secret)
        yield Hostile(f"h5 {kind}", made, partial(kinds.samples, "modelnet", "train", {"normalize": False}))
    for name in ("../canary.npy", str(traps.canary), "..\\canary.npy", "a/../../canary.npy"):
        made = partial(archive, "a.npz", name)
        yield Hostile(f"npz member {name[:6]}", made, kinds.one_scan)
        yield Hostile(f"pth member {name[:6]}", partial(archive, "a.pth", name), run_kinds.load_weights)
    settings = {
        "checkpoint": f"|touch {traps.canary}",
        "data.root": f"$(touch {traps.canary})",
        "model.name": f"{traps.script}:model",
        "adapter.name": "os.system",
        "data.name": f"import {traps.script.stem}",
    }
    for key, value in settings.items():
        yield Hostile(f"setting {key}", partial(write, "a.yaml", nested(key, value)), partial(run_kinds.config, "cls"))


def nested(key: str, value: str) -> str:
    held: Any = value
    for part in reversed(key.split(".")):
        held = {part: held}
    return json.dumps(held)


def h5_elsewhere(kind: str, secret: Path, folder: Path) -> None:
    kinds.h5(folder, parts=False)
    with h5py.File(folder / "other.h5", "w") as other:
        other["data"] = np.full((4, 16, 3), SECRET, np.float32)
    with h5py.File(folder / "ply_data_train0.h5", "a") as file:
        del file["data"]
        match kind:
            case "external link":
                file["data"] = h5py.ExternalLink("other.h5", "/data")
            case "external storage":
                file.create_dataset("data", (4, 16, 3), "<f4", external=[(str(secret), 0, 768)])
            case "virtual":
                layout = h5py.VirtualLayout((4, 16, 3), "<f4")
                layout[:] = h5py.VirtualSource("other.h5", "data", (4, 16, 3))
                file.create_virtual_dataset("data", layout)
            case "soft link":
                file["data"] = h5py.SoftLink("/data")
            case _:
                file["data"] = file["/"]


def archive(name: str, member: str, folder: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, kinds.XYZ)
    with zipfile.ZipFile(folder / name, "w") as file:
        file.writestr(member, stream.getvalue())
        file.writestr("a/version", "3")


def everything(traps: Traps) -> list[Hostile]:
    """Return all of them, each with a name of its own."""
    found = []
    for number, (name, payload) in enumerate(payloads(traps).items()):
        found += [item._replace(name=f"{name}, {item.name}") for item in pickled(payload, number % 6)]
    for part in (opcodes, documents, images, references):
        found += part(traps)
    return found
