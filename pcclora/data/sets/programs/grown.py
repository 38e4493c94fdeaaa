"""Programs in the manner of what grows or is modelled by hand: animals, figures, plants, lumps, free compositions."""

from collections.abc import Callable

import numpy as np

from pcclora.data.sets.procedural.categories import Vary
from pcclora.data.sets.programs import built, furnished
from pcclora.data.sets.programs.program import ONCE, Places, Program, around, compose, mirrored, moved, posed
from pcclora.data.sets.programs.shapes import (
    Array,
    cage,
    cord,
    lattice,
    loft,
    random_outline,
    random_profile,
    rounded,
    shell,
    solid,
)

Build = Callable[[Vary], Program]


def animal(v: Vary) -> Program:
    """A body that lies, with pairs of legs, a neck and head, a tail, ears, horns, wings or fins."""
    program = Program()
    long, high, wide, legs = v(0.45, 0.9), v(0.15, 0.45), v(0.15, 0.4), v(0.1, 0.8)
    program.add(rounded(long, high, wide))
    if v.chance(0.5):
        program.add(
            rounded(long * v(0.3, 0.6), high * v(0.8, 1.2), wide * v(0.8, 1.2)).at(long * v(-0.6, 0.6), v(-0.1, 0.1))
        )
    pairs, thick = v.whole(0, 3), v(0.03, 0.13)
    for x in np.linspace(-0.7, 0.7, pairs) * long if pairs > 1 else np.zeros(pairs):
        hip = np.array([x, -high * 0.3, wide * 0.6])
        foot = np.array([x + v(-0.15, 0.15), -high * 0.4 - legs, wide * v(0.5, 1.6)])
        program.add(cord(v, hip, foot, 0.12, (thick * v(1, 1.8), thick)), mirrored(2))
    neck = np.array([long * 0.8, high * 0.2, 0])
    head = neck + np.array((v(0, 0.5), v(-0.1, 0.8), 0))
    program.add(cord(v, neck, head, 0.1, (high * v(0.3, 0.7), high * v(0.25, 0.5))))
    size = v(0.12, 0.32)
    program.add(
        rounded(size * v(1, 2), size, size * v(0.7, 1.1))
        .turned(z=v(-40, 20))
        .at(*(head + np.array((size * 0.5, 0, 0))))
    )
    if v.chance(0.6):
        tip = head + np.array((v(-0.3, 0.2), size * v(1, 3), size * v(0.6, 1.5)))
        program.add(
            cord(v, head + np.array((0, size * 0.6, size * 0.4)), tip, 0.12, (size * v(0.2, 0.5), size * v(0.05, 0.3))),
            mirrored(2),
        )
    if v.chance(0.7):
        tail = np.array([-long * 0.9, high * 0.2, 0])
        program.add(
            cord(
                v,
                tail,
                tail + np.array((-v(0.1, 0.8), v(-0.5, 0.5), 0)),
                0.2,
                (high * v(0.2, 0.6), high * v(0.05, 0.3)),
            )
        )
    if v.chance(0.25):
        wing = rounded(long * v(0.3, 0.6), v(0.02, 0.05), v(0.3, 0.8)).at(z=wide + 0.2).turned(x=-v(-30, 60))
        program.add(wing.at(y=high * 0.3), mirrored(2))
    return program


def figure(v: Vary) -> Program:
    """A body that stands or sits: trunk, head, two arms, two legs or a robe, on a base; hats and things in hand."""
    program = Program()
    high, wide, deep = v(0.3, 0.6), v(0.15, 0.35), v(0.1, 0.3)
    trunk = solid(v, wide, high, deep) if v.chance(0.3) else rounded(wide, high, deep)
    program.add(trunk)
    size = v(0.1, 0.28)
    neck = high + size * v(0.5, 1)
    program.add(rounded(size * v(0.7, 1), size, size * v(0.7, 1)).at(0, neck, v(-0.05, 0.1)))
    limb = v(0.04, 0.11)
    shoulder, hand = np.array([wide * 0.8, high * 0.6, 0]), np.array([v(0.1, 0.9), v(-0.6, 1.1), v(-0.1, 0.5)])
    if v.chance(0.8):
        program.add(cord(v, shoulder, hand, 0.2, (limb * v(1, 1.5), limb)), mirrored() if v.chance(0.6) else ONCE)
    if v.chance(0.3):
        program.add(solid(v, v(0.03, 0.2), v(0.05, 0.6), v(0.03, 0.2)).at(*hand))
    match v.pick(("legs", "legs", "robe", "seat", "none")):
        case "legs":
            foot = np.array([wide * v(0.3, 1.2), -high - v(0.2, 0.8), v(-0.2, 0.3)])
            program.add(cord(v, np.array([wide * 0.4, -high * 0.7, 0]), foot, 0.12, (limb * 1.6, limb)), mirrored())
        case "robe":
            robe = loft(random_outline(v), (np.array([-1.0, 1.0]), np.array([1.0, v(0.3, 0.8)])))
            program.add(robe.stretched(wide * v(1, 1.8), v(0.2, 0.5), deep * v(1, 2)).at(y=-high - 0.1))
        case "seat":
            knee = np.array([wide * v(0.5, 1), -high * 0.8, v(0.3, 0.6)])
            program.add(
                cord(v, np.array([wide * 0.5, -high * 0.8, 0]), knee, 0.08, (limb * 1.6, limb * 1.3)), mirrored()
            )
            program.add(cord(v, knee, knee + np.array((0, -v(0.2, 0.6), 0)), 0.08, (limb * 1.3, limb)), mirrored())
        case _:
            pass
    if v.chance(0.35):
        program.add(solid(v, size * v(0.6, 1.6), size * v(0.2, 0.9), size * v(0.6, 1.6)).at(y=neck + size * 0.9))
    if v.chance(0.35):
        low = v(0.04, 0.2)
        program.add(solid(v, wide * v(1, 2.2), low, deep * v(1, 2.5)).at(y=program.box()[0, 1] - low))
    return program


def plant(v: Vary) -> Program:
    """A stem that forks, with leaves or fruit at the ends, in a pot or none."""
    program = Program()
    stem = np.array([v(-0.15, 0.15), v(0.3, 1), v(-0.15, 0.15)])
    thick, count = v(0.02, 0.09), v.whole(3, 7)
    program.add(cord(v, np.zeros(3), stem, 0.1, (thick * 1.5, thick)))
    tip = np.array([v(0.15, 0.7), v(0.1, 0.8), 0.0])
    branch = cord(v, np.zeros(3), tip, 0.15, (thick * 0.8, thick * 0.4))
    leaf = (
        solid(v, v(0.05, 0.3), v(0.02, 0.2), v(0.05, 0.2))
        if v.chance(0.5)
        else rounded(v(0.1, 0.3), v(0.01, 0.15), v(0.05, 0.2))
    )
    for height, scale in ((1.0, 1.0), (v(0.3, 0.8), v(0.5, 1.2)))[: v.whole(1, 2)]:
        places = compose(moved([stem * height], scale=scale), compose(posed(0, v(0, 180), 0), around(count)))
        program.add(branch, places)
        program.add(leaf.turned(z=v(-30, 60)).at(*tip), places)
    if v.chance(0.5):
        wide, high = v(0.15, 0.45), v(0.1, 0.35)
        pot = shell(random_outline(v), (np.array([-1.0, 1.0]), np.array([v(0.6, 1), 1.0])), 0.1)
        program.add(pot.stretched(wide, high, wide).at(y=-high * 0.8))
    return program


def lump(v: Vary) -> Program:
    """One to three solids or limbs grown into each other; most of their form comes from what deforms them."""
    program = Program()
    program.add(solid(v, v(0.3, 1), v(0.3, 1), v(0.3, 1)))
    for _ in range(v.pick((0, 0, 1, 2))):
        program.add(rounded(v(0.15, 0.7), v(0.15, 0.7), v(0.15, 0.7)).at(v(-0.7, 0.7), v(-0.7, 0.7), v(-0.7, 0.7)))
    return program


def free(v: Vary) -> Program:
    """A core, and one to five things of any kind somewhere on it, each once, mirrored, in a ring or in a row."""
    program = Program()
    core = np.array([v(0.2, 0.9) for _ in range(3)])
    program.add(solid(v, *core))
    for _ in range(v.whole(1, 5)):
        side = np.array([v(-1, 1) for _ in range(3)])
        at = core * side / max(np.abs(side).max(), 0.1) * v(0.8, 1.1)
        _attach(v, program, at)
    return program


def _attach(v: Vary, program: Program, at: Array) -> None:
    x, y, z = v(0.05, 0.6), v(0.05, 0.6), v(0.03, 0.4)
    group: Places = v.pick((ONCE, ONCE, mirrored(), mirrored(), mirrored(2), around(v.whole(3, 6)), mirrored(1)))
    match v.pick(("solid", "solid", "cord", "cord", "shell", "cage", "lattice")):
        case "solid":
            program.add(solid(v, x, y, z).turned(x=v(-45, 45), z=v(-45, 45)).at(*at), group)
        case "cord":
            end = at + [v(-0.8, 0.8) for _ in range(3)]
            program.add(cord(v, at * 0.8, end, 0.3, (v(0.03, 0.15), v(0.01, 0.12))), group)
        case "shell":
            program.add(shell(random_outline(v), random_profile(v), 0.1).stretched(x, y, x).at(*at), group)
        case "cage":
            wires = cage(random_outline(v), random_profile(v), 0.05, rows=4, columns=7)
            program.add(wires.stretched(x, y, z).at(*at), group)
        case _:
            program.add(lattice(v, x, y, z, 0.02).at(*at), group)


def pair(v: Vary) -> Program:
    """Two programs that make one: on top of each other, or several of one around another."""
    program, first, second = Program(), v.pick(SINGLE)(v), v.pick(SINGLE)(v)
    low, high = first.box()
    below, above = second.box()
    program.include(first, ONCE)
    scale = v(0.3, 0.8) * (high - low).max() / (above - below).max()
    if v.chance(0.6):
        lift = high[1] - scale * below[1] - 0.02
        program.include(second, moved([(v(-0.3, 0.3) * high[0], lift, v(-0.3, 0.3) * high[2])], scale=scale))
    else:
        reach = 0.7 * scale * (above - below).max() + max(high[0], high[2])
        place = moved([(reach, low[1] - scale * below[1], 0)], scale=scale)
        program.include(second, compose(around(v.whole(1, 4)), place))
    return program


SINGLE: tuple[Build, ...] = (
    *3 * (furnished.furniture, built.vessel),
    *2 * (furnished.case, built.carved, built.upright, figure, free),
    *(built.machine, built.tool, built.framework, built.stairs, animal, plant, lump),
)
PROGRAMS: tuple[Build, ...] = (*2 * SINGLE, pair, pair, pair, animal, lump)
"""What an object is drawn from; one that is listed twice is drawn twice as often."""
