"""Programs in the manner of furniture: slabs on supports with backs and arms, and boards around a space.

Proportions and optional parts come from :class:`Vary`; y is up, objects are about two units in size.
"""

import numpy as np

from pcclora.data.sets.procedural.categories import Vary
from pcclora.data.sets.procedural.primitives import Mesh, arc, tube
from pcclora.data.sets.programs.program import (
    CORNERS,
    ONCE,
    Program,
    around,
    compose,
    mirrored,
    moved,
    posed,
    rows,
    turned,
)
from pcclora.data.sets.programs.shapes import (
    Solid,
    block,
    frame,
    lattice,
    loft,
    random_outline,
    rod,
    solid,
    vase,
)

CIRCLE = 2 * np.pi * np.arange(18) / 18, np.ones(18)
STRAIGHT = np.array([-1.0, 1.0]), np.ones(2)


def furniture(v: Vary) -> Program:
    """A slab on legs, with a back, arms, shelves, rails or nothing: tables, seats, benches, beds, desks, racks."""
    program = Program()
    x, z, thick, height = v(0.35, 1.1), v(0.35, 0.8), v(0.015, 0.16), v(0.25, 1.3)
    if v.chance(0.7):
        slab = block(x, thick, z, taper=v(0.85, 1.05))
    else:
        slab = loft(random_outline(v), STRAIGHT).stretched(x, thick, z)
    program.add(slab.at(y=height))
    support(v, program, x, z, height - thick)
    if v.chance(0.45):
        _back(v, program, x, z, height + thick, v(0.2, 1.2))
    if v.chance(0.25):
        high, bar = v(0.1, 0.35), v(0.02, 0.06)
        arm = block(bar, bar, z * v(0.5, 1)).at(x - bar, height + high) if v.chance(0.5) else _loop(v, z * 0.8, high)
        program.add(arm if isinstance(arm, Solid) else arm.turned(y=90).at(x - bar, height), mirrored())
        program.add(rod(bar, high / 2).at(x - bar, height + high / 2, z * v(-0.8, 0.8)), mirrored())
    if v.chance(0.35):
        count, gap = v.whole(1, 3), height / 4
        shelf = block(x * v(0.7, 1), v(0.01, 0.05), z * v(0.6, 1)).at(y=height * 0.45)
        program.add(shelf, rows((1, count, 1), (1, gap, 1)))
    if v.chance(0.25):
        drawer = block(x * v(0.3, 0.9), v(0.06, 0.3), z * v(0.6, 0.95)).at(x * v(-0.4, 0.4), height - thick - 0.1)
        program.add(drawer)
    return program


def support(v: Vary, program: Program, x: float, z: float, height: float) -> None:
    """Add what stands on the floor, y = 0, and carries something of half sizes x and z at this height."""
    half, thick, inset = height / 2, v(0.02, 0.09), v(0.75, 0.97)
    match v.pick(("corners", "corners", "corners", "ring", "post", "boards", "frame", "sled", "body")):
        case "corners":
            leg = (
                block(thick, half, thick, taper=v(0.5, 2)) if v.chance(0.5) else rod(thick, half, top=thick * v(0.6, 2))
            )
            splay = (v(0, 12), v(0, 12)) if v.chance(0.4) else (0.0, 0.0)
            program.add(leg.turned(x=-splay[0], z=splay[1]).at(x * inset - thick, half, z * inset - thick), CORNERS)
            if v.chance(0.4):
                low = height * v(0.1, 0.8)
                program.add(block(x * inset - thick, thick / 2, thick / 2).at(0, low, z * inset - thick), mirrored(2))
                program.add(block(thick / 2, thick / 2, z * inset - thick).at(x * inset - thick, low), mirrored())
        case "ring":
            lean = v(-25, 10)
            program.add(rod(thick, half).turned(z=lean).at(min(x, z) * v(0.3, 0.9), half), around(v.whole(3, 6)))
        case "post":
            post = loft(CIRCLE, vase(v, 4) if v.chance(0.4) else STRAIGHT)
            program.add(post.stretched(thick * 1.4, half, thick * 1.4).at(y=half))
            foot_of(v, program, min(x, z) * v(0.5, 1.1))
        case "boards":
            program.add(block(thick / 2, half, z * v(0.6, 1)).at(x * inset, half), mirrored())
            if v.chance(0.5):
                program.add(block(x * inset, half * v(0.2, 1), thick / 2).at(0, half, -z * v(0, 0.9)))
        case "frame":
            program.add(frame(x * inset, half, z * inset, thick / 2).at(y=half))
        case "sled":
            path = np.array([(-1, 1, 0), (-1, 0.1, 0), (-0.9, 0, 0), (0.9, 0, 0), (1, 0.1, 0), (1, 1, 0)])
            bent = tube(path * (z * inset, height, 1), thick * 0.6, sides=6).turned(y=90)
            program.add(bent.at(x * inset), mirrored())
        case _:
            body = solid(v, x * v(0.4, 0.95), half, z * v(0.4, 0.95))
            program.add(body.at(y=half))


def foot_of(v: Vary, program: Program, reach: float) -> None:
    """Add a plate, or spokes, on the floor."""
    if v.chance(0.6):
        outline, profile = random_outline(v), (np.array([-1.0, 1.0]), np.array([1.0, v(0.3, 1)]))
        low = v(0.01, 0.08)
        program.add(loft(outline, profile).stretched(reach, low, reach).at(y=low))
    else:
        spoke = block(reach / 2, v(0.01, 0.05), v(0.02, 0.07)).turned(z=-v(0, 20)).at(reach / 2, 0.06)
        program.add(spoke, around(v.whole(3, 6)))


def _back(v: Vary, program: Program, x: float, z: float, low: float, high: float) -> None:
    """Add a back: a board, slats, bars, a hoop or a cage, leaning."""
    lean, thin = posed(v(-20, 2), 0, 0), v(0.015, 0.09)
    place = compose(moved([(0, low, -z * 0.95)]), lean)
    wide = x * v(0.7, 1)
    match v.pick(("board", "board", "cushion", "slats", "bars", "hoop", "grid")):
        case "board":
            program.add(block(wide, high / 2, thin, taper=v(0.7, 1.1)).at(y=high / 2), place)
        case "cushion":
            program.add(solid(v, wide, high / 2, v(0.08, 0.25)).at(y=high / 2), place)
        case "slats":
            count = v.whole(3, 8)
            slats = rows((count, 1, 1), (2 * wide / count, 1, 1))
            program.add(block(wide * v(0.2, 0.8) / count, high / 2, thin).at(y=high / 2), compose(place, slats))
            program.add(block(wide, v(0.03, 0.12), thin).at(y=high), place)
        case "bars":
            count = v.whole(2, 5)
            bars = rows((1, count, 1), (1, high / count, 1))
            program.add(block(wide, high * v(0.1, 0.35) / count, thin).at(y=high * 0.55), compose(place, bars))
            program.add(rod(thin, high / 2).at(wide, high / 2), compose(place, mirrored()))
        case "hoop":
            program.add(_loop(v, wide, high), place)
            program.add(
                rod(thin / 2, high / 2).at(y=high / 2), compose(place, rows((v.whole(1, 5), 1, 1), (wide / 3, 1, 1)))
            )
        case _:
            program.add(lattice(v, wide, high / 2, thin, 0.015).at(y=high / 2), place)


def _loop(v: Vary, wide: float, high: float) -> Mesh:
    """Return half a hoop that stands on its ends."""
    return tube(arc(1, start=-5, stop=185) * (wide, high, 1), v(0.015, 0.06), sides=6)


def case(v: Vary) -> Program:
    """Boards around a space, with shelves, doors, drawers, feet or knobs: chests, racks, boxes, screens, housings."""
    program = Program()
    x, y, z, wall = v(0.3, 1), v(0.25, 1.2), v(0.15, 0.7), v(0.01, 0.06)
    if v.chance(0.55):
        program.add(block(wall, y, z).at(x), mirrored())
        program.add(block(x, wall, z).at(0, y), mirrored(1) if v.chance(0.85) else ONCE)
        if v.chance(0.75):
            program.add(block(x, y, wall).at(z=-z))
        if v.chance(0.7):
            count = v.whole(1, 5)
            program.add(block(x, wall, z * v(0.7, 1)), rows((1, count, 1), (1, 2 * y / (count + 1), 1)))
        if v.chance(0.3):
            count = v.whole(1, 3)
            program.add(block(wall, y, z), rows((count, 1, 1), (2 * x / (count + 1), 1, 1)))
    else:
        program.add(block(x, y, z, taper=v(0.8, 1.05)))
    if v.chance(0.45):  # doors, some of them open
        half = x / 2
        door = block(half * 0.96, y * 0.95, wall).at(half)
        hinge = compose(moved([(-x, 0, z)]), turned([-v(0, 100) if v.chance(0.4) else 0]))
        program.add(door, compose(mirrored(), hinge))
    if v.chance(0.6):  # fronts of drawers, knobs, slots
        columns, lines = v.whole(1, 3), v.whole(1, 5)
        at = compose(moved([(0, 0, z)]), rows((columns, lines, 1), (2 * x / columns, 2 * y / lines, 1)))
        program.add(block(x / columns * v(0.7, 0.97), y / lines * v(0.7, 0.97), wall), at)
        program.add(solid(v, v(0.02, 0.2), v(0.02, 0.05), v(0.02, 0.06)).at(z=0.05), at)
    if v.chance(0.5):
        foot = v(0.05, 0.3)
        program.add(rod(v(0.02, 0.08), foot / 2, top=v(0.03, 0.09)).at(x * 0.85, -y - foot / 2, z * 0.85), CORNERS)
    if v.chance(0.25):
        program.add(solid(v, x * v(0.2, 1.1), v(0.03, 0.3), z * v(0.2, 1.1)).at(y=y))
    return program
