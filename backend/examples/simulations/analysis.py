"""What a cluster is like: how it fills the plane, and how far it reaches."""

import math
from dataclasses import dataclass

import numpy as np

from backend.examples.simulations.aggregate import RADIUS, TOUCH, Points

LITERATURE = 1.71
"""The fractal dimension of large clusters in the plane, off any lattice (Meakin, 1983)."""
PARTICLES_MIN = 100
"""Fewer discs have no dimension to speak of."""
INNER = 0.9
"""The half side of the square that is counted, in radii of gyration.

Farther out the arms are still growing, and a box there is empty only for now.
"""
SMALLEST = 1.5 * TOUCH
"""The side of the smallest box; within a disc the cluster is a solid of dimension 2."""
LARGEST = 4
"""Boxes along the square at the least: a few of them, nearly all taken, say nothing."""
_RIM = 16
"""Points that stand for the rim of a disc."""


@dataclass(frozen=True, slots=True)
class Analysis:
    particles: int
    fractal_dimension: float
    literature_value: float
    radius_of_gyration: float
    """Both radii are in radii of a disc."""
    extent: float
    """Of the farthest disc, from the first one."""


def analyze(points: Points) -> Analysis:
    """How a cluster of at least `PARTICLES_MIN` discs fills the plane."""
    return Analysis(
        len(points),
        round(box_dimension(points), 3),
        LITERATURE,
        round(radius_of_gyration(points), 2),
        round(float(np.hypot(*points.T).max()), 2),
    )


def radius_of_gyration(points: Points) -> float:
    """The root of the mean squared distance from the centre of mass."""
    return float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean()))


def box_dimension(points: Points) -> float:
    """By how much the boxes that hold some of the cluster grow in number as they get smaller.

    The slope, between the two bounds on their size, of the logarithm of their number over that
    of how many stand along the square.
    """
    half = INNER * radius_of_gyration(points)
    covered = _discs(points)
    inside = (covered[(abs(covered) < half).all(axis=1)] + half) / (2 * half)
    along = LARGEST
    sides: list[float] = []
    counts: list[float] = []
    while 2 * half / along >= SMALLEST:
        boxes = len(np.unique(np.floor(inside * along).astype(int), axis=0))
        sides.append(math.log(along))
        counts.append(math.log(boxes))
        along = along * 3 // 2
    slope, _ = np.polyfit(sides, counts, 1)
    return float(slope)


def _discs(points: Points) -> Points:
    """Points all over the discs: their centres, their rims, and a ring between."""
    angles = np.arange(_RIM) * 2 * math.pi / _RIM
    rim = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    offsets = np.concatenate([np.zeros((1, 2)), 0.6 * rim, rim])
    spread: Points = (points[:, None, :] + offsets[None]).reshape(-1, 2)
    return spread
