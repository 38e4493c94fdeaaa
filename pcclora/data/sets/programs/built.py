"""Programs in the manner of things that are made: tubs, vessels, stands, tools, parts of machines, frameworks.

Each draws its proportions and optional parts from :class:`Vary`; y is up, and objects are about two units in size.
The ranges are wide on purpose: nothing here is a category, and a table with a deep top and boards for legs is a case.
"""

import numpy as np

from pcclora.data.sets.procedural.categories import Vary
from pcclora.data.sets.procedural.primitives import Mesh, arc, tube
from pcclora.data.sets.programs.furnished import CIRCLE, STRAIGHT, foot_of, support
from pcclora.data.sets.programs.program import (
    CORNERS,
    ONCE,
    Places,
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
    block,
    cage,
    coil,
    cord,
    frame,
    lattice,
    loft,
    random_outline,
    random_profile,
    rod,
    rounded,
    shell,
    solid,
    struts,
    vase,
)


def carved(v: Vary) -> Program:
    """A solid with one to three others taken out of it: tubs, sofas, trays, sinks, niches, broken pieces."""
    program = Program()
    x, y, z = v(0.5, 1.1), v(0.25, 0.9), v(0.4, 0.9)
    whole = block(x, y, z, taper=v(0.7, 1.2)) if v.chance(0.4) else solid(v, x, y, z)
    holes = []
    for _ in range(v.pick((1, 1, 2, 3))):
        size = np.array((x, y, z)) * [v(0.45, 0.92) for _ in range(3)]
        hole = block(*size) if v.chance(0.5) else solid(v, *size)
        side = v.pick((0, 1, 1, 1, 2))
        shift = np.zeros(3)
        shift[side] = np.array((x, y, z))[side] * v(0.35, 1) * (1 if side == 1 or v.chance(0.5) else -1)
        holes.append(hole.at(*shift))
    program.add(whole, cut=holes)
    if v.chance(0.4):
        legs, height = Program(), v(0.05, 0.6)
        support(v, legs, x * 0.8, z * 0.8, height)
        program.include(legs, moved([(0, -y - height, 0)]))
    return program


def vessel(v: Vary) -> Program:
    """A hollow or solid body, turned or faceted, with neck, foot, handles, spout, lid, ribs, or a broken edge."""
    program = Program()
    outline = CIRCLE if v.chance(0.65) else random_outline(v)
    profile = vase(v, v.whole(2, 6)) if v.chance(0.75) else random_profile(v)
    wide, high = v(0.3, 1), v(0.3, 1.1)
    if v.chance(0.6):
        program.add(shell(outline, profile, v(0.03, 0.2)).stretched(wide, high, wide))
    else:
        whole = loft(outline, profile).stretched(wide, high, wide)
        hollow = whole.stretched(0.85, 0.95, 0.85).at(y=0.1 * high)
        broken = solid(v, wide * v(0.5, 1), high * v(0.3, 0.8), wide * v(0.5, 1)).turned(z=v(0, 90))
        broken = broken.at(wide * v(0.4, 1), high * v(0.2, 0.9), wide * v(-0.6, 0.6))
        program.add(whole, cut=[hollow, broken] if v.chance(0.5) else [])

    def radius(y: float) -> float:
        return wide * float(np.interp(y, *profile))

    if v.chance(0.5):
        low, top = sorted((v(-0.8, 0.7), v(-0.4, 0.95)))
        ends = [np.array([radius(y) * 0.95, y * high, 0.0]) for y in (low, top)]
        handle = cord(v, ends[0], ends[1], 0.03, (v(0.03, 0.08), v(0.03, 0.08)))
        bow = np.sin(np.pi * np.clip((handle.vertices[:, 1] / high - low) / max(top - low, 0.1), 0, 1))
        bent = handle.vertices + np.array([1.0, 0, 0]) * (v(0.1, 0.5) * bow)[:, None]
        program.add(Mesh(bent, handle.faces), around(v.pick((1, 1, 2, 2, 2, 3, 4))))
    if v.chance(0.25):
        y = v(-0.3, 0.6)
        start = np.array([-radius(y) * 0.9, y * high, 0])
        program.add(
            cord(v, start, start + np.array((-v(0.2, 0.6), v(0.1, 0.6), 0)), 0.15, (v(0.08, 0.16), v(0.04, 0.08)))
        )
    if v.chance(0.3):
        lid = loft(outline, (np.array([-1.0, 1.0]), np.array([1, v(0.1, 0.9)]))).stretched(
            radius(1) * 1.05, v(0.03, 0.2), radius(1) * 1.05
        )
        program.add(lid.at(y=high * v(1, 1.15)))
        program.add(solid(v, v(0.04, 0.12), v(0.04, 0.12), v(0.04, 0.12)).at(y=high * 1.25))
    if v.chance(0.25):
        rib = rounded(v(0.03, 0.1), high * v(0.2, 0.6), v(0.03, 0.1)).at(radius(0))
        program.add(rib, around(v.whole(4, 12)))
    if v.chance(0.3):
        foot = v(0.04, 0.3)
        if v.chance(0.5):
            program.add(rod(radius(-1) * v(0.7, 1.5) + 0.05, foot, top=radius(-1) + 0.03).at(y=-high - foot))
        else:
            program.add(solid(v, 0.07, foot, 0.07).at(radius(-0.9) * 0.7, -high - foot * 0.8), around(v.whole(3, 4)))
    return program


def upright(v: Vary) -> Program:
    """Something on a post with a foot: screens, lamps, signs, mirrors, stands, busts."""
    program = Program()
    height = v(0.1, 1.3)
    program.add(rod(v(0.02, 0.12), height / 2).at(y=height / 2))
    foot_of(v, program, v(0.2, 0.7))
    x, y, z = v(0.2, 1), v(0.2, 0.8), v(0.02, 0.5)
    tilt = compose(moved([(0, height + y * 0.8, v(-0.1, 0.1))]), posed(v(-20, 20), 0, 0))
    match v.pick(("panel", "panel", "panel", "shade", "solid", "cage")):
        case "panel":
            z = v(0.02, 0.15)
            screen = block(x, y, z, taper=v(0.9, 1.05))
            inner = block(x * v(0.8, 0.95), y * v(0.8, 0.95), z).at(z=z * v(0.7, 1.5))
            program.add(screen, tilt, cut=[inner] if v.chance(0.5) else [])
            if v.chance(0.5):
                program.add(solid(v, x * v(0.3, 0.9), y * v(0.3, 0.9), v(0.05, 0.4)).at(z=-z - 0.1), tilt)
        case "shade":
            profile = np.array([-1.0, 1.0]), np.array([1.0, v(0.3, 1)])
            shade = shell(random_outline(v), profile, 0.04).stretched(x * 0.6, -y * 0.6, x * 0.6)
            program.add(shade, tilt)
        case "solid":
            program.add(solid(v, x * 0.7, y, max(z, x * 0.4)), tilt)
        case _:
            program.add(
                cage(random_outline(v), random_profile(v), 0.02, rows=5, columns=8).stretched(x * 0.7, y, x * 0.7), tilt
            )
    return program


def machine(v: Vary) -> Program:
    """A solid with rings or grids of holes, bosses, shafts and ribs."""
    program = Program()
    size, deep = v(0.5, 1), v(0.08, 0.6)
    body = loft(random_outline(v), STRAIGHT).stretched(size, deep, size * v(0.5, 1))
    holes = [rod(size * v(0.1, 0.45), deep * 1.05)] if v.chance(0.7) else []
    count, ring = v.whole(2, 6), size * v(0.5, 0.8)
    if v.chance(0.6):
        drill = rod(size * v(0.06, 0.14), deep * 1.05)
        angles = 2 * np.pi * np.arange(count) / count
        holes += [drill.at(ring * np.cos(angle), 0, ring * np.sin(angle)) for angle in angles]
    if v.chance(0.3):
        holes.append(
            block(size * v(0.1, 0.9), deep * v(0.2, 1.1), size * v(0.1, 0.4)).at(size * v(-0.6, 0.6), deep * v(0, 1))
        )
    program.add(body, cut=holes)
    if v.chance(0.6):
        program.add(
            solid(v, size * v(0.1, 0.5), deep * v(0.5, 2), size * v(0.1, 0.5)).at(y=deep * v(0.5, 2)),
            v.pick((ONCE, mirrored(1))),
        )
    if v.chance(0.5):
        boss = rod(size * v(0.05, 0.15), deep * v(0.3, 1.2)).at(ring, deep)
        program.add(boss, around(v.whole(2, 8)))
    if v.chance(0.4):
        shaft = rod(size * v(0.05, 0.2), v(0.3, 1.2))
        program.add(shaft.at(y=v(-0.5, 0.8)))
    if v.chance(0.2):
        program.add(coil(v, size * v(0.2, 0.6), v(0.2, 0.7), v(0.02, 0.08)).at(y=deep))
    if v.chance(0.3):
        rib = block(size * 0.5, deep * v(0.5, 1.5), v(0.02, 0.06)).at(size * 0.5)
        program.add(rib, around(v.whole(3, 8)))
    return program if v.chance(0.5) else _laid(v, program)


def _laid(v: Vary, program: Program) -> Program:
    """Return a program on its side."""
    lying = Program()
    lying.include(program, v.pick((posed(90, 0, 0), posed(0, 0, 90), posed(0, 0, -90))))
    return lying


def tool(v: Vary) -> Program:
    """Solids one after the other on an axis: handles, blades, heads, wheels, nozzles."""
    program, place = Program(), 0.0
    wide = v(0.05, 0.2)
    for _ in range(v.whole(2, 5)):
        high = v(0.08, 0.8)
        thick = wide * v(0.4, 3) if v.chance(0.4) else wide * v(0.7, 1.3)
        flat = v(0.15, 0.6) if v.chance(0.3) else 1.0
        piece = rod(thick, high, top=thick * v(0.4, 1.3)) if v.chance(0.4) else solid(v, thick, high, thick)
        program.add(piece.stretched(z=flat).at(y=place + high))
        place += 2 * high * v(0.85, 1)
    if v.chance(0.6):
        head = solid(v, v(0.1, 0.5), v(0.06, 0.25), v(0.04, 0.25)).at(v(-0.2, 0.3), place)
        program.add(head, v.pick((ONCE, ONCE, mirrored(), around(3))))
    if v.chance(0.3):
        program.add(
            cord(v, np.zeros(3), np.array([v(0.2, 0.8), v(-0.4, 0.8), 0]), 0.2, (wide * 0.6, wide * v(0.2, 0.6)))
        )
    return _laid(v, program) if v.chance(0.6) else program


def framework(v: Vary) -> Program:
    """Lattices, cages and frames, filled with panels here and there: scaffolds, towers, trusses, crates, fences."""
    program = Program()
    x, y, z, thick = v(0.2, 1), v(0.3, 1.1), v(0.1, 0.8), v(0.01, 0.05)
    match v.pick(("lattice", "frame", "cage", "spokes")):
        case "lattice":
            program.add(lattice(v, x, y, z, thick))
        case "frame":
            count = v.whole(1, 4)
            program.add(frame(x, y / count, z, thick), rows((1, count, 1), (1, 2 * y / count, 1)))
        case "cage":
            drawn = cage(
                random_outline(v), random_profile(v), thick / max(x, y), rows=v.whole(3, 8), columns=v.whole(5, 12)
            )
            program.add(drawn.stretched(x, y, x))
        case _:
            count = v.whole(3, 10)
            start, end = np.array([[0, 0, 0], [0, 0, 0]]), np.array([[x, v(-0.3, 0.8), 0], [x * v(0.3, 1), y, 0]])
            program.add(struts(start * 1.0, end, thick), around(count))
            program.add(tube(arc(x, start=0, stop=360, count=20), thick * v(1, 3)).turned(x=90))
    for _ in range(v.whole(0, 2)):
        program.add(block(x, v(0.01, 0.05), z).at(y=y * v(-1, 1)))
    if v.chance(0.3):
        program.add(solid(v, x * v(0.3, 0.8), y * v(0.2, 0.7), z * v(0.3, 0.8)).at(y=-y * v(0, 0.6)))
    if v.chance(0.3):
        program.add(rod(thick * 2, y * v(0.3, 0.8)).at(x, -y, z), CORNERS)
    return program


def stairs(v: Vary) -> Program:
    """One thing many times: on a line, a ramp, a spiral or a ring."""
    program = Program()
    count, step = v.whole(4, 12), v(0.1, 0.25)
    piece = (
        solid(v, v(0.1, 0.5), v(0.02, 0.2), v(0.05, 0.2))
        if v.chance(0.7)
        else block(v(0.1, 0.5), v(0.02, 0.2), v(0.05, 0.2))
    )
    place = np.arange(count) - (count - 1) / 2
    match v.pick(("ramp", "spiral", "ring")):
        case "ramp":
            program.add(piece, moved(np.outer(place, (0, step * v(0, 1), step))))
            if v.chance(0.5):
                length = place[-1] * step
                program.add(
                    struts(np.array([(0.3, -length, -length)]), np.array([(0.3, length, length)]), 0.03), mirrored()
                )
        case "spiral":
            spiral: Places = turned(place * v(15, 60))
            spiral[:, 1, 3] = place * step * v(0.5, 1)
            program.add(piece.at(v(0.2, 0.6)), spiral)
            program.add(rod(v(0.02, 0.15), count * step / 2))
        case _:
            reach = v(0.5, 1)
            program.add(piece.at(reach), around(count))
            program.add(rounded(v(0.1, 0.6), v(0.05, 0.4), v(0.1, 0.6)))
            program.add(block(reach / 2, 0.03, 0.03).at(reach / 2), around(count))
    return program
