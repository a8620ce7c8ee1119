"""Diffusion-limited aggregation in two dimensions, off any lattice.

Discs of radius 1 come one by one from far away, walk at random, and stay where they first touch
the cluster (Witten and Sander, 1981). Where a walker is far from the cluster it may jump: all
points at one distance are reached first with the same chance, as long as nothing is nearer.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

type Points = NDArray[np.float64]

RADIUS = 1.0
TOUCH = 2 * RADIUS
NEAR = 0.05
"""A walker that comes this near to touching has touched."""
LAUNCH = 5 * RADIUS
"""How far outside of the cluster a walker starts."""
LOST = 20.0
"""A walker that is so many times as far out as it started is started anew."""
PARTICLES_MAX = 5000
"""A cluster of 5000 takes about a minute."""


def grow(particles: int, seed: int, told: Callable[[int], None] = lambda _: None) -> Points:
    """The centres of a cluster's discs in the order in which they came; the first is the origin.

    The same seed makes the same cluster. `told` is called with how many discs there are; what
    it raises ends the growth.
    """
    random = np.random.default_rng(seed)
    points = np.zeros((particles, 2))
    reach = 0.0
    for count in range(1, particles):
        points[count] = _walk(points[:count], reach, random)
        reach = max(reach, math.hypot(*points[count]))
        told(count + 1)
    return points


def _walk(cluster: Points, reach: float, random: np.random.Generator) -> Points:
    """Where a walker comes to rest."""
    start = reach + LAUNCH
    place = start * _direction(random)
    while True:
        gap = np.sqrt(((cluster - place) ** 2).sum(axis=1).min()) - TOUCH
        if gap <= NEAR:
            return place
        place = place + gap * _direction(random)
        if math.hypot(*place) > LOST * start:
            place = start * _direction(random)


def _direction(random: np.random.Generator) -> Points:
    angle = random.uniform(0.0, 2 * math.pi)
    return np.array([math.cos(angle), math.sin(angle)])
