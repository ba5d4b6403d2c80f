"""Releases as a scenario draws them: git SHAs whose first six digits are colours easy to tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from random import Random

_WHITE, _BLACK = "ffffff", "000000"
_APART = 28.0
"""Least CIE76 difference between two releases; 2.3 is just noticeable."""
_TRIES = 64
"""Draws before the difference asked for is relaxed: there are only so many colours."""


def releases(seed: int, count: int, avoid: Sequence[str] = ()) -> tuple[str, ...]:
    """`count` SHAs of forty hex digits from the stream "releases".

    The first six digits are a colour, redrawn until it is far from white, black, the ones before it and
    those to `avoid`. The first ones do not depend on how many are drawn.
    """
    rng = Random(f"{seed}/releases")
    found: list[str] = []
    taken = [_WHITE, _BLACK, *avoid]
    for _ in range(count):
        apart, tries = _APART, 0
        while True:
            sha = f"{rng.getrandbits(160):040x}"
            if all(difference(sha[:6], other) >= apart for other in taken):
                break
            tries += 1
            if tries % _TRIES == 0:
                apart *= 0.9
        found.append(sha)
        taken.append(sha[:6])
    return tuple(found)


def difference(one: str, other: str) -> float:
    """How different two colours of six hex digits look: their distance in CIE L*a*b* (CIE76)."""
    return math.dist(_lab(one), _lab(other))


@lru_cache(maxsize=4096)
def _lab(colour: str) -> tuple[float, float, float]:
    """CIE L*a*b* of an sRGB colour under D65 (IEC 61966-2-1 and CIE 15)."""
    linear = []
    for at in (0, 2, 4):
        value = int(colour[at : at + 2], 16) / 255
        linear.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    red, green, blue = linear
    x = _f((0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047)
    y = _f(0.2126729 * red + 0.7151522 * green + 0.0721750 * blue)
    z = _f((0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _f(t: float) -> float:
    cut = 6 / 29
    return math.cbrt(t) if t > cut**3 else t / (3 * cut**2) + 4 / 29
