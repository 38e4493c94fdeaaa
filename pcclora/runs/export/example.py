"""The program beside an exported model: from a file to an answer, with numpy and what runs the model, and no more."""

from pcclora.runs.export.targets import Target

_HEAD = '''"""{what}: python example.py {usage}"""

import json
import sys
from pathlib import Path

import numpy as np
{imports}
here = Path(__file__).parent
card = json.loads((here / "model.json").read_text())
{run}


{body}'''

_UPRIGHT = """def unit_sphere(points):
    points = points - points.mean(axis=0)
    return points / np.linalg.norm(points, axis=1).max()


def chosen_of(names, name):
    return name if name in names else sys.exit(f"'{{name}}' is none of {{', '.join(names)}}")


file, *more = sys.argv[1:]
try:
    rows = np.load(file) if file.endswith(".npy") else np.loadtxt(file, comments=["#", "//"])
except ValueError:
    sys.exit(f"{{file}}: neither .npy nor columns of numbers; write the points of another format by np.save")
turn = np.array(card["turn"][chosen_of(card["turn"], {up})]).T
cloud = rows[:, :3] @ turn  # y is up now
cloud = (unit_sphere(cloud) if card["normalize"] else cloud).astype(np.float32)
beside = [cloud[:, :0]]
for name, (start, end) in card.get("features", {{}}).items():
    own = rows[:, start:end]
    if own.shape[1] < end - start or np.abs(own).max() > 1.001:
        sys.exit(f"{{file}}: columns {{start + 1}} to {{end}} must be {{name}}, of numbers up to 1")
    beside.append(own @ turn if name == "normal" else own)
beside = np.hstack(beside).astype(np.float32)
"""

_CLASS = (
    _UPRIGHT.format(up='more[0] if more else card["up"]')
    + """
chosen, nearest = [0], np.full(len(cloud), np.inf)
while len(chosen) < card["points"]:  # farthest points
    nearest = np.minimum(nearest, ((cloud - cloud[chosen[-1]]) ** 2).sum(axis=1))
    chosen.append(nearest.argmax())
points = cloud[chosen]
points = unit_sphere(points).astype(np.float32) if card["normalize_points"] else points
scores = logits(points=np.hstack([points, beside[chosen]])[None])[0] / card["temperature"]
scores = np.exp(scores - scores.max())
for i in scores.argsort()[:-4:-1]:
    print(f"{scores[i] / scores.sum():.4f}  {card['classes'][i]}")
"""
)

_PARTS = (
    _UPRIGHT.format(up='more[1] if len(more) > 1 else card["up"]')
    + """
category = chosen_of(card["classes"], more[0] if more else card["classes"][0])
draw = np.random.Generator(np.random.Philox(np.random.SeedSequence((0, 0, 0, 0)))).random(len(cloud))
chosen = np.resize(draw.argsort(kind="stable"), card["points"])  # any will do; these are the ones that pcclora takes
points, number = np.hstack([cloud[chosen], beside[chosen]]), card["classes"].index(category)
scores = logits(points=points[None], category=np.array([number]), query=cloud[None])[0]
names, columns = zip(*card["parts"][category].items())
best = scores[:, columns].argmax(axis=1)
for i, name in enumerate(names):
    print(f"{(best == i).sum():8d} points  {name}")
np.savetxt("parts.txt", best, fmt="%d")
print("parts.txt: a line a point, in the order of the file, with the number of its part, from 0 as above")
"""
)

_IMAGE = """image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
size, crop, how = card["size"], card["crop"], Image.Resampling[card["interpolation"].upper()]
if crop:  # the shorter side to size / crop, then the square in the middle
    side, shorter = int(size / crop), min(image.size)
    image = image.resize([side if n == shorter else int(side * n / shorter) for n in image.size], how)
    left, top = (round((n - size) / 2) for n in image.size)
    image = image.crop((left, top, left + size, top + size))
pixels = np.asarray(image.resize((size, size), how), np.float32) / 255
images = ((pixels - np.float32(card["mean"])) / np.float32(card["std"])).transpose(2, 0, 1)[None]
scores = logits(images=images)[0] / card["temperature"]
scores = np.exp(scores - scores.max())
for i in scores.argsort()[:-4:-1]:
    print(f"{scores[i] / scores.sum():.4f}  {card['classes'][i]}")
"""

_TASKS = {
    "cls": ("The classes of a scan", "scan.npy [UP_AXIS]", _CLASS),
    "partseg": ("The parts of a scan", "scan.npy [CATEGORY [UP_AXIS]]", _PARTS),
    "image": ("The classes of a photograph", "photo.jpg", _IMAGE),
}


def example_of(task: str, target: Target) -> str:
    """Return the program.

    Args:
        task: Of the run.
        target: What the model was exported to.
    """
    what, usage, body = _TASKS[task]
    imports = f"import {target.runs_on}\n" + ("from PIL import Image, ImageOps\n" if task == "image" else "")
    return _HEAD.format(what=what, usage=usage, imports=imports, run=target.example, body=body)
