"""A cluster as a file: its discs as CSV, and its picture as PNG."""

import struct
import zlib

import numpy as np

from backend.examples.simulations.aggregate import RADIUS, Points

SIDE = 800
"""Pixels of a picture's side."""
_EARLY, _LATE = np.array([24, 42, 94]), np.array([240, 128, 48])
"""The colours of the first disc and of the last."""


def as_csv(points: Points) -> str:
    """A line for each disc, in the order in which they came."""
    lines = [f"{number},{x:.6f},{y:.6f}" for number, (x, y) in enumerate(points)]
    return "\n".join(["particle,x,y", *lines, ""])


def as_png(points: Points) -> bytes:
    """Each disc in a colour that tells how early it came, on white."""
    picture = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    reach = float(abs(points).max()) + 2 * RADIUS
    scale = SIDE / (2 * reach)
    radius = max(1, round(RADIUS * scale))
    offsets = np.arange(-radius, radius + 1)
    disc = [(dx, dy) for dx in offsets for dy in offsets if dx * dx + dy * dy <= radius * radius]
    places = ((points + reach) * scale).astype(int)
    ages = np.linspace(0, 1, len(points))[:, None]
    colours = (_EARLY * (1 - ages) + _LATE * ages).astype(np.uint8)
    for dx, dy in disc:
        columns = np.clip(places[:, 0] + dx, 0, SIDE - 1)
        rows = np.clip(SIDE - 1 - places[:, 1] + dy, 0, SIDE - 1)
        picture[rows, columns] = colours
    return _png(picture)


def _png(picture: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> bytes:
    height, width, _ = picture.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = b"".join(b"\x00" + row.tobytes() for row in picture)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    checked = kind + body
    return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))
