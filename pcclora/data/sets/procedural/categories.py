"""Sixteen categories of made-up objects in the spirit of ShapeNetPart, with its 50 parts; a short function each.

A function draws its proportions and optional parts from :class:`Vary` and yields (part name, mesh), y up, about two
units in size. The ranges are wide on purpose: a stool is nearly a table, a rocket nearly a wingless airplane.
Categories and parts are those of Yi et al., "A Scalable Active Framework for Region Annotation in 3D Shape
Collections", SIGGRAPH Asia 2016; their part names are informal, so ours are.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pcclora.data.sets.procedural.primitives import Mesh, arc, box, cylinder, ellipsoid, join, lathe, prism, torus, tube

Parts = Iterator[tuple[str, Mesh]]
T = TypeVar("T")


class Vary:
    """Random choices of one object. Only ``Generator.random`` is drawn from, the stream that numpy never changes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._random = rng.random

    def __call__(self, low: float, high: float) -> float:
        """Return a number between ``low`` and ``high``."""
        return low + (high - low) * self._random()

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random() < probability

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""
        return low + int((high - low + 1) * self._random())

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of some choices, each as likely; one that is listed twice is so twice."""
        return choices[int(len(choices) * self._random())]


class Category(NamedTuple):
    """A category: its name, its part names in order, the first of its global part numbers, how to build one."""

    name: str
    parts: tuple[str, ...]
    first_part: int
    build: Callable[[Vary], Parts]


CATEGORIES: list[Category] = []


def category(*parts: str) -> Callable[[Callable[[Vary], Parts]], Callable[[Vary], Parts]]:
    """Add the decorated function, under its own name, with these part names."""

    def add(build: Callable[[Vary], Parts]) -> Callable[[Vary], Parts]:
        first = sum(len(entry.parts) for entry in CATEGORIES)
        CATEGORIES.append(Category(build.__name__, parts, first, build))
        return build

    return add


@category("body", "wing", "tail", "engine")
def airplane(v: Vary) -> Parts:
    """Fuselage, swept wings, tailplane and fin, up to two engines a side."""
    radius, span, sweep, chord = v(0.08, 0.17), v(0.6, 1.15), v(0.0, 0.6), v(0.25, 0.5)
    nose, stern = v(0.6, 1.0), v(0.1, 0.5)
    hull = [(0, -1), (radius * stern, -0.95), (radius, -0.35), (radius, 0.6), (radius * 0.7, 0.6 + 0.3 * nose), (0, 1)]
    yield "body", lathe(hull).turned(x=90)
    tip, thick, height = chord * v(0.25, 0.9), v(0.02, 0.05), v(-0.8, 0.9) * radius
    wing = prism([(0, chord / 2), (span, tip / 2 - sweep), (span, -tip / 2 - sweep), (0, -chord / 2)], thick)
    wing = wing.turned(x=90).turned(z=v(-3, 10))
    yield "wing", wing.at(y=height, z=v(-0.1, 0.3)).mirrored()
    scale, lift = v(0.3, 0.5), v(0, 0.45) if v.chance(0.3) else 0.0
    yield "tail", wing.stretched(scale, 1, scale).at(y=lift, z=-0.85).mirrored()
    fin = prism([(-0.95, 0), (-0.6, 0), (-0.85, 0.5), (-1.0, 0.5)], 0.03).turned(y=-90)
    yield "tail", fin.stretched(y=v(0.6, 1.1)).at(y=radius * 0.3)
    for place in range(1, 1 + v.whole(0, 2)):
        engine = cylinder(v(0.05, 0.09), v(0.2, 0.4), top=0.06).turned(x=90)
        x = place * span * 0.32
        yield "engine", engine.at(x, height - v(0.04, 0.1), 0.2 - sweep * x / span).mirrored()


@category("handle", "body")
def bag(v: Vary) -> Parts:
    """A handbag, a shopping bag or a rucksack."""
    width, height, depth = v(0.8, 1.5), v(0.7, 1.5), v(0.25, 0.7)
    if v.chance(0.7):
        yield "body", box(width, height, depth, taper=v(0.6, 1.1))
    else:
        yield "body", ellipsoid(width / 2, height / 2, depth / 2)
    rise, reach, thick = v(0.15, 0.7), width * v(0.2, 0.42), v(0.02, 0.05)
    strap = tube(arc(1, start=-10, stop=190) * (reach, rise, 1), thick)
    if v.chance(0.45):  # a shopping bag: one on each side
        yield "handle", strap.at(y=height / 2, z=depth * 0.35)
        yield "handle", strap.at(y=height / 2, z=-depth * 0.35)
    elif v.chance(0.6):
        yield "handle", strap.at(y=height / 2)
    else:  # a rucksack
        shoulder = tube(arc(1, start=-90, stop=90) * (v(0.15, 0.4), height * 0.42, 1), thick * 1.3)
        yield "handle", shoulder.turned(y=-90).at(x=width * 0.25, z=depth / 2).mirrored()


@category("panels", "peak")
def cap(v: Vary) -> Parts:
    """A dome with a peak, sometimes a button."""
    radius, height = v(0.6, 0.8), v(0.45, 0.8)
    crown = ellipsoid(radius, height, radius * v(1.0, 1.25), part=v(0.42, 0.55))
    yield "panels", crown
    if v.chance(0.5):
        yield "panels", ellipsoid(0.06, 0.04, 0.06).at(y=height)
    reach, droop = v(0.5, 1.0), v(-5, 25)
    angle = np.radians(np.linspace(10, 170, 16))
    outer = np.stack([0.9 * radius * np.cos(angle), radius * 0.7 + reach * np.sin(angle)], axis=1)
    inner = np.stack([0.9 * radius * np.cos(angle), radius * 0.8 * np.sin(angle)], axis=1)[::-1]
    peak = prism(np.concatenate([outer, inner]), v(0.02, 0.06))
    yield "peak", peak.turned(x=90).turned(x=droop).at(y=v(-0.02, 0.08))


@category("roof", "hood", "wheel", "body")
def car(v: Vary) -> Parts:
    """Body and cabin on four wheels, from saloon to van to pick-up."""
    length, width, height = v(1.7, 2.3), v(0.7, 0.95), v(0.22, 0.4)
    yield "body", box(width, height, length, taper=v(0.9, 1.0))
    cabin, back = length * v(0.3, 0.65), v(-0.25, 0.05) * length
    front = back + cabin / 2
    glass = v(0.2, 0.5)
    yield "body", box(width * 0.92, glass, cabin, taper=v(0.65, 0.98)).at(y=(height + glass) / 2, z=back)
    yield "roof", box(width * 0.8, 0.04, cabin * 0.75).at(y=height / 2 + glass, z=back)
    bonnet = max(length / 2 - front, 0.15)
    hood = box(width * 0.9, v(0.04, 0.12), bonnet).turned(x=v(0, 8))
    yield "hood", hood.at(y=height / 2 + 0.03, z=length / 2 - bonnet / 2)
    radius, thick = v(0.16, 0.27), v(0.1, 0.2)
    wheel = cylinder(radius, thick).turned(z=90).at(x=width / 2, y=-height / 2)
    yield "wheel", wheel.at(z=length * v(0.27, 0.36)).mirrored()
    yield "wheel", wheel.at(z=-length * v(0.27, 0.36)).mirrored()


@category("back", "seat", "leg", "arm")
def chair(v: Vary) -> Parts:
    """Back, seat, four legs or a pedestal, sometimes arms."""
    width, depth, thick, legs = v(0.7, 1.1), v(0.7, 1.0), v(0.05, 0.22), v(0.4, 0.9)
    yield "seat", box(width, thick, depth) if v.chance(0.75) else cylinder(width / 2, thick)
    rise, lean = v(0.3, 1.1), v(-18, 0)
    if v.chance(0.6):
        rest = box(width * v(0.8, 1.0), rise, v(0.04, 0.15))
    else:
        count = v.whole(3, 6)
        slats = [box(0.06, rise, 0.05).at(x=x) for x in np.linspace(-0.45, 0.45, count) * width]
        rest = join([*slats, box(width * 0.96, 0.12, 0.06).at(y=rise / 2)])
    yield "back", rest.at(y=rise / 2).turned(x=lean).at(z=-depth * 0.46)
    if v.chance(0.7):
        yield "leg", _four_legs(v, width, depth, legs).at(y=-legs / 2)
    else:
        yield "leg", _pedestal(v, width, legs).at(y=-legs / 2)
    if v.chance(0.45):
        high, bar = v(0.2, 0.4), v(0.04, 0.12)
        rail = box(bar, bar, depth * 0.9).at(y=high)
        post = box(bar, high, bar).at(y=high / 2, z=depth * 0.38)
        yield "arm", join([rail, post]).at(x=width * 0.48).mirrored()


def _four_legs(v: Vary, width: float, depth: float, height: float) -> Mesh:
    thick, splay = v(0.025, 0.07), v(0, 10)
    leg = (
        box(2 * thick, height, 2 * thick) if v.chance(0.5) else cylinder(thick, height, top=thick * v(1, 1.6), sides=8)
    )
    leg = leg.turned(z=splay).at(x=width * 0.44)
    return join([leg.at(z=depth * 0.42).mirrored(), leg.at(z=-depth * 0.42).mirrored()])


def _pedestal(v: Vary, width: float, height: float) -> Mesh:
    post = cylinder(v(0.03, 0.09), height, sides=10)
    if v.chance(0.5):
        return join([post, cylinder(width * v(0.25, 0.42), 0.05).at(y=-height / 2)])
    count = v.whole(3, 5)
    spoke = box(width * 0.45, 0.05, 0.08).at(x=width * 0.22, y=-height / 2)
    return join([post, *(spoke.turned(y=360 * i / count) for i in range(count))])


@category("earphone", "headband", "data wire")
def earphone(v: Vary) -> Parts:
    """Two cups under a headband, or two buds on a wire."""
    gap, radius, thick = v(0.5, 0.75), v(0.2, 0.4), v(0.12, 0.3)
    over_ear = v.chance(0.75)
    if over_ear:
        cup = cylinder(radius, thick, top=radius * v(0.6, 1.0)).turned(z=90).stretched(y=v(0.9, 1.3))
        band = tube(arc(1, start=-5, stop=185) * (gap, v(0.7, 1.0), 1), v(0.03, 0.07))
        yield "headband", band.stretched(z=v(1, 3))
    else:
        cup = join([ellipsoid(0.16, 0.16, 0.12), cylinder(0.05, v(0.2, 0.5), sides=8).at(y=-0.15)])
    yield "earphone", cup.turned(y=v(-15, 15)).at(x=gap).mirrored()
    if not over_ear or v.chance(0.5):
        drop, swing = v(0.6, 1.3), v(-0.3, 0.3)
        t = np.linspace(0, 1, 14)
        wire = np.stack([gap * (1 - t), -0.15 - drop * t, swing * np.sin(np.pi * t)], axis=1)
        cord = tube(wire, 0.02, sides=6)
        yield "data wire", cord if over_ear else cord.mirrored()


@category("head", "neck", "body")
def guitar(v: Vary) -> Parts:
    """An acoustic or horned electric body, neck and head."""
    length, lower, upper, waist = v(0.8, 1.1), v(0.36, 0.5), v(0.26, 0.4), v(0.6, 0.95)
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    half = np.where(np.sin(angle) < 0, lower, upper) * (1 - (1 - waist) * np.exp(-((np.sin(angle) / 0.35) ** 2)))
    outline = np.stack([half * np.cos(angle), length / 2 * np.sin(angle)], axis=1)
    if v.chance(0.35):  # an electric one: horns
        outline[:, 1] += 0.2 * np.abs(outline[:, 0] / lower) ** 2 * (np.sin(angle) > 0)
    yield "body", prism(outline, v(0.06, 0.24))
    neck, wide = v(0.7, 1.1), v(0.07, 0.13)
    yield "neck", box(wide, neck, 0.06, taper=v(0.7, 1.0)).at(y=length * 0.35 + neck / 2, z=0.05)
    peg = v(0.2, 0.34)
    head = box(wide * v(1.2, 2.2), peg, 0.05, taper=v(0.7, 1.3)).at(y=peg / 2).turned(x=v(-15, 0))
    yield "head", head.at(y=length * 0.35 + neck, z=0.05)


@category("blade", "handle")
def knife(v: Vary) -> Parts:
    """A pointed blade and a hilt, sometimes with a guard."""
    length, width, grip = v(0.8, 1.5), v(0.1, 0.35), v(0.5, 0.9)
    tip = v(0.5, 0.95)
    edge = [(0, -width / 2), (length * tip, -width / 2 * v(0.6, 1.1)), (length, v(-0.1, 0.5) * width)]
    yield "blade", prism([*edge, (length * tip, width / 2 * v(0.8, 1.0)), (0, width / 2)], v(0.015, 0.05))
    thick = width * v(0.45, 0.9)
    if v.chance(0.5):
        hilt = box(grip, thick, v(0.06, 0.14))
    else:
        hilt = lathe([(0, -1), (0.9, -0.9), (1, 0), (0.7, 0.6), (0.9, 1), (0, 1)], sides=12)
        hilt = hilt.turned(z=-90).stretched(grip / 2, thick / 2, v(0.05, 0.1))
    yield "handle", hilt.turned(z=v(-6, 6)).at(x=-grip / 2)
    if v.chance(0.35):
        yield "handle", box(0.06, width * v(1.2, 2.0), 0.12)


@category("base", "shade", "bulb", "tube")
def lamp(v: Vary) -> Parts:
    """One that hangs, one with a jointed arm, or one that stands."""
    height, thin, wide = v(0.6, 1.8), v(0.02, 0.07), v(0.25, 0.55)
    shade = cylinder(wide, v(0.3, 0.7), top=wide * v(0.2, 0.95))
    shade = Mesh(shade.vertices, shade.faces[40:-40])  # open at both ends
    kind = v.whole(0, 3)
    if kind == 0:  # it hangs
        yield "tube", cylinder(thin * 0.5, height, sides=8)
        yield "base", cylinder(v(0.12, 0.25), v(0.04, 0.12)).at(y=height / 2)
        yield "shade", shade.at(y=-height / 2)
        yield "bulb", ellipsoid(0.12, 0.15, 0.12).at(y=-height / 2)
    elif kind == 1:  # on a desk, with a joint
        lower, upper = v(5, 35), v(-110, -40)
        arm = tube(np.cumsum([(0, 0, 0), _spoke(lower, height * 0.5), _spoke(upper, height * 0.5)], axis=0), thin)
        tip = _spoke(lower, height * 0.5) + _spoke(upper, height * 0.5)
        yield "tube", arm
        yield "base", cylinder(v(0.22, 0.4), 0.07)
        yield "shade", shade.stretched(0.6, 0.6, 0.6).turned(z=v(-50, 10)).at(*tip)
    else:  # on a table or the floor
        foot = v(0.15, 0.45)
        yield "tube", cylinder(thin * (1 if kind == 2 else v(1.5, 3.5)), height, sides=12)
        yield "base", cylinder(foot, v(0.04, 0.12), top=foot * v(0.4, 1)).at(y=-height / 2)
        yield "shade", shade.at(y=height / 2)


def _spoke(degrees: float, length: float) -> NDArray[np.float64]:
    return length * np.array([-np.sin(np.radians(degrees)), np.cos(np.radians(degrees)), 0.0])


@category("keyboard", "screen")
def laptop(v: Vary) -> Parts:
    """A keyboard and a screen, nearly closed to laid back."""
    width, depth, thick = v(1.2, 1.7), v(0.8, 1.2), v(0.03, 0.1)
    yield "keyboard", box(width, thick, depth)
    screen = box(width * v(0.96, 1.0), depth * v(0.85, 1.0), thick * v(0.4, 0.9))
    yield "screen", screen.at(y=depth * 0.47).turned(x=v(-40, 75)).at(y=thick / 2, z=-depth / 2)  # 90 is closed


@category("gas tank", "seat", "wheel", "handle", "light", "frame")
def motorbike(v: Vary) -> Parts:
    """Two wheels, fork, frame and engine, tank, seat, bars, most with a light."""
    base, radius, tyre = v(0.55, 0.8), v(0.3, 0.42), v(0.05, 0.11)
    wheel = join([torus(radius, tyre), cylinder(0.08, 0.2, sides=10).turned(x=90)])
    yield "wheel", join([wheel.at(x=base), wheel.at(x=-base)])
    top, rake = v(0.35, 0.55), v(0.15, 0.35)
    fork = tube([(base, 0, 0), (base - rake, top + 0.2, 0)], 0.04)
    spine = tube([(-base, 0, 0), (-0.15, top * 0.3, 0), (base - rake, top, 0)], v(0.04, 0.08))
    yield "frame", join([fork, spine, box(v(0.35, 0.6), v(0.25, 0.45), v(0.15, 0.3)).at(y=v(-0.05, 0.1))])
    yield "gas tank", ellipsoid(v(0.22, 0.34), v(0.1, 0.18), v(0.1, 0.17)).at(x=0.12, y=top)
    yield "seat", box(v(0.4, 0.75), 0.1, v(0.16, 0.26)).turned(z=v(-12, 4)).at(x=-0.35, y=top * v(0.85, 1.05))
    bar = tube([(-0.12, 0.08, v(0.25, 0.45)), (0, 0, 0.1)], 0.025)
    bars = join([bar, bar.stretched(z=-1.0)])
    yield "handle", bars.at(x=base - rake, y=top + v(0.18, 0.35))
    if v.chance(0.7):
        yield "light", ellipsoid(0.08, 0.1, 0.1).at(x=base - rake + 0.12, y=top + 0.1)


@category("handle", "body")
def mug(v: Vary) -> Parts:
    """A hollow cup, nearly always with a handle."""
    radius, height, wall = v(0.35, 0.6), v(0.6, 1.3), v(0.02, 0.08)
    bottom, bulge, h = radius * v(0.65, 1.05), radius * v(0.9, 1.15), height / 2
    outside = [(0, -h), (bottom, -h), (bulge, 0), (radius, h)]
    yield "body", lathe([*outside, (radius - wall, h), (bulge - wall, 0), (bottom - wall, wall - h), (0, wall - h)])
    if v.chance(0.92):
        loop = arc(1, start=-95, stop=95) * (v(0.18, 0.42), height * v(0.2, 0.4), 1)
        yield "handle", tube(loop, v(0.03, 0.08)).at(x=radius * 0.95, y=v(-0.1, 0.1))


@category("barrel", "handle", "trigger")
def pistol(v: Vary) -> Parts:
    """A revolver or an automatic, with a trigger guard."""
    length, high, wide = v(1.1, 1.7), v(0.15, 0.35), v(0.1, 0.24)
    slim = v.chance(0.4)
    if slim:  # a revolver
        muzzle = cylinder(high * 0.3, length * 0.6, sides=12).turned(z=90).at(x=length * 0.25, y=high * 0.15)
        drum = cylinder(high * v(0.5, 0.75), length * 0.3, sides=12).turned(z=90).at(x=-length * 0.1)
        yield "barrel", join([muzzle, drum, box(length * 0.3, high * 0.8, wide * 0.7).at(x=-length * 0.3)])
    else:
        yield "barrel", box(length, high, wide)
    grip, lean = v(0.5, 0.9), v(-30, 0)
    stock = box(v(0.22, 0.36), grip, wide * v(0.8, 1.1), taper=v(0.7, 1.0)).at(y=-grip / 2)
    yield "handle", stock.turned(z=lean).at(x=-length * v(0.28, 0.42), y=-high * 0.3)
    guard = arc(v(0.1, 0.17), start=180, stop=360) * (1.3, 1, 1)
    yield "trigger", tube(guard, 0.02, sides=6).at(x=-length * 0.08, y=-high / 2)


@category("body", "fin", "nose")
def rocket(v: Vary) -> Parts:
    """A hull with a nose cone and two to five fins, sometimes boosters."""
    radius, length, tip = v(0.1, 0.26), v(1.1, 1.7), v(0.25, 0.7)
    yield "body", cylinder(radius * v(0.8, 1.1), length, top=radius)
    rise = np.linspace(0, 1, 6)
    ogive = np.stack([radius * (1 - rise ** v(1.0, 2.5)), length / 2 + tip * rise], axis=1)
    yield "nose", lathe(ogive)
    count, span, chord = v.whole(2, 5), v(0.15, 0.5), v(0.25, 0.55)
    root, sweep = -length / 2, v(-0.05, 0.25)
    fin = prism([(0, root), (0, root + chord), (span, root + chord * v(0.2, 0.6) - sweep), (span, root - sweep)], 0.03)
    fins = fin.at(x=radius * 0.9)
    yield "fin", join([fins.turned(y=360 * i / count) for i in range(count)])
    if v.chance(0.3):
        booster = lathe([(0, -1), (0.3, -1), (0.3, 0.7), (0, 1)], sides=12).stretched(
            radius * 2, length * 0.3, radius * 2
        )
        yield "body", booster.at(x=radius * 1.5, y=-length * 0.2).mirrored()


@category("wheel", "deck", "belt")
def skateboard(v: Vary) -> Parts:
    """A deck with bent ends on two trucks and four wheels."""
    length, width, kick = v(1.2, 1.6), v(0.35, 0.55), v(0, 35)
    thick, tail = v(0.02, 0.06), v(0.2, 0.4)
    yield "deck", box(length, thick, width)
    angle = np.radians(np.linspace(-90, 90, 9))
    tip = prism(np.stack([tail * np.cos(angle), width / 2 * np.sin(angle)], axis=1), thick).turned(x=90)
    for side in (1, -1):
        yield "deck", tip.turned(z=kick).at(x=length / 2).stretched(x=side)
    axle, radius, low = length * v(0.3, 0.45), v(0.05, 0.12), v(0.08, 0.16)
    truck = join([box(0.12, low, 0.12), cylinder(0.025, width * 0.9, sides=8).turned(x=90).at(y=-low / 2)])
    yield "belt", truck.at(axle, -low / 2).mirrored()
    wheel = cylinder(radius, v(0.05, 0.12), sides=14).turned(x=90).at(axle, -low)
    wheels = join([wheel.at(z=width * 0.45), wheel.at(z=-width * 0.45)])
    yield "wheel", wheels.mirrored()


@category("top", "leg", "shelf")
def table(v: Vary) -> Parts:
    """A square or round top on legs, a pedestal or side panels, sometimes a shelf or a drawer."""
    width, depth, thick, height = v(0.9, 2.0), v(0.7, 1.2), v(0.04, 0.16), v(0.35, 1.0)
    round_top = v.chance(0.3)
    yield "top", cylinder(0.5, thick).stretched(x=width, z=depth) if round_top else box(width, thick, depth)
    if v.chance(0.7 if not round_top else 0.3):
        inset = 0.7 if round_top else 1.0
        yield "leg", _four_legs(v, width * inset, depth * inset, height).at(y=-height / 2)
    elif v.chance(0.5):
        yield "leg", _pedestal(v, depth, height).at(y=-height / 2)
    else:
        yield "leg", box(v(0.04, 0.12), height, depth * 0.9).at(x=width * 0.44, y=-height / 2).mirrored()
    if v.chance(0.35) and not round_top:
        if v.chance(0.5):
            yield "shelf", box(width * 0.85, 0.04, depth * 0.8).at(y=-height * v(0.5, 0.85))
        else:
            yield "shelf", box(width * v(0.25, 0.5), height * v(0.25, 0.6), depth * 0.85).at(y=-height * 0.25)
