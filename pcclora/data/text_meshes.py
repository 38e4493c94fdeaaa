"""Finds a text mesh (ply, off) that was cut off: trimesh fills up what its header promises, and says nothing."""

import re
from pathlib import Path

from pcclora.errors import PccloraError


def refuse_truncated(path: Path) -> None:
    """Check that a text ply or off has the rows that its header promises; any other file is left alone.

    Raises:
        PccloraError: If rows, or numbers of the last row, are missing.
    """
    content = path.read_bytes()
    rows, promised, columns = _ply(content) if path.suffix.lower() == ".ply" else _off(content)
    if len(rows) < promised or (promised and len(rows[promised - 1].split()) < columns):
        raise PccloraError(f"{path}: truncated, {len(rows)} of {promised} rows; check it in the program that wrote it")


def _ply(content: bytes) -> tuple[list[bytes], int, int]:
    """Return the rows of the body, how many there should be, and the numbers that the last one should have."""
    header, _, body = content.partition(b"end_header")
    if b"format ascii" not in header[:200]:
        return [], 0, 0
    rows = [row for row in body.split(b"\n") if row.strip()]
    elements = re.findall(rb"element\s+\w+\s+(\d+)((?:\s+property[^\n]*)*)", header)
    filled = [(int(count), properties) for count, properties in elements if int(count)]
    if not filled:
        return [], 0, 0
    promised = sum(count for count, _ in filled)
    properties = filled[-1][1].count(b"property")
    if b"property list" in filled[-1][1] and promised <= len(rows):
        properties += int(rows[promised - 1].split()[0])
    return rows, promised, properties


def _off(content: bytes) -> tuple[list[bytes], int, int]:
    rows = [row for row in content.split(b"\n") if row.strip() and not row.lstrip().startswith(b"#")]
    found = re.match(rb"OFF\s*(\d+)\s+(\d+)", b"\n".join(row.strip() for row in rows[:2]))
    if found is None:
        return [], 0, 0
    body = rows[1 if rows[0].strip() != b"OFF" else 2 :]
    vertices, faces = int(found[1]), int(found[2])
    corners = int(body[vertices + faces - 1].split()[0]) if faces and len(body) >= vertices + faces else 2
    return body, vertices + faces, corners + 1
