"""Names inside the bands of a stacked picture, where they fit."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from scenarios.report.timeline import Stack

_SIZE_PT = 8.0
_POINTS_AN_INCH = 72.0


def name_bands(axes: Axes, stack: Stack) -> None:
    """Write each name at the place where its band is thickest, upright if need be; not where it has no room."""
    figure = axes.get_figure(root=True)
    if figure is None or len(stack.t_s) < 3:
        return
    # about: the labels around the axes take their share
    width_in, height_in = (0.85 * side for side in figure.get_size_inches())
    place = axes.get_subplotspec()
    rows, columns = (1, 1) if place is None else place.get_gridspec().get_geometry()
    width_in, height_in = width_in / columns, height_in / rows * 0.8
    steps_an_inch = len(stack.t_s) / width_in
    counts_an_inch = axes.get_ylim()[1] / height_in
    tops = np.cumsum(stack.counts, axis=0)
    for name, counts, top in zip(stack.names, stack.counts, tops, strict=True):
        for upright in (False, True):
            long_in, high_in = (
                0.62 * _SIZE_PT * (len(name) + 1.5) / _POINTS_AN_INCH,
                1.5 * _SIZE_PT / _POINTS_AN_INCH,
            )
            wide_in, tall_in = (high_in, long_in) if upright else (long_in, high_in)
            found = _roomiest(top - counts, top, round(wide_in * steps_an_inch), tall_in * counts_an_inch)
            if found is None:
                continue
            at, middle = found
            axes.text(
                float(stack.t_s[at]), middle, name, ha="center", va="center", fontsize=_SIZE_PT,
                rotation=90 if upright else 0, color="white" if is_dark(name) else "black",
            )  # fmt: skip
            break


def is_dark(colour: str) -> bool:
    """Whether white reads better than black on this colour of six hex digits (BT.601 luma)."""
    return sum(w * int(colour[i : i + 2], 16) for w, i in ((0.299, 0), (0.587, 2), (0.114, 4))) < 140


def _roomiest(floor: np.ndarray, top: np.ndarray, width: int, height: float) -> tuple[int, float] | None:
    """Where a box of this width (in steps) and height has most room between floor and top, and its middle."""
    width = max(width, 1)
    if width >= len(top):
        return None
    roof = minimum_filter1d(top, width, mode="nearest")
    ground = maximum_filter1d(floor, width, mode="nearest")
    room = roof - ground
    half = width // 2 + 1
    room[:half] = room[len(room) - half :] = -1.0  # it would stick out
    if room.max() < height:
        return None
    # in the middle of the places that are as good
    good = np.flatnonzero(room >= room.max() * 0.999)
    at = int(good[np.argmin(np.abs(good - good.mean()))])
    return at, float(roof[at] + ground[at]) / 2
