"""How pictures look: one palette, ink that follows the page's light or dark, bytes that repeat."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt  # after use(): a window system is not needed
from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's text colour: in SVG it becomes `currentColor`, in PNG it is nearly black."""
FAINT = 0.25  # opacity of grid lines

# Okabe and Ito's palette: told apart by people with any colour vision; hatches tell them apart without colour
STATES: dict[str, tuple[str, str]] = {
    "starting": ("#F0E442", "////"),
    "selected": ("#009E73", ""),
    "draining": ("#56B4E9", "...."),
    "idle": ("#E69F00", "\\\\\\\\"),
    "terminating": ("#D55E00", "xxxx"),
}
RECONNECTS = "#D55E00"
ARRIVALS = "#0072B2"

RC: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": FAINT,
    "grid.linewidth": 0.5,
    "font.size": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "drainbow",
    "path.simplify": True,
}


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures are made in our style."""
    with plt.rc_context(RC):
        yield


def svg_of(figure: Figure) -> str:
    """The figure as inline SVG that scales to its place and takes the page's ink; closes it."""
    stream = io.StringIO()
    with plt.rc_context(RC):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    head, body = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    text = f"{head} class='figure' role='img'>{body}"
    # text stays text: it can be selected, searched, and takes the page's font
    return text.replace(INK, "currentColor").replace("'DejaVu Sans'", "inherit")


def png_of(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG on white; leaves it open."""
    stream = io.BytesIO()
    with plt.rc_context(RC):
        figure.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return stream.getvalue()
