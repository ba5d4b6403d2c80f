"""How pictures look: one palette, ink that follows the page's light or dark, bytes that repeat."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
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
    "selected": ("#009E73", ""),
    "draining": ("#56B4E9", ".."),
    "idle": ("#E69F00", "\\\\\\\\"),
    "terminating": ("#D55E00", "xxx"),
    "starting": ("#F0E442", "////"),
}
"""Pod states from the bottom of the picture up, each with its colour and hatch."""
HATCH = "#1b1f24"
"""Dark on light and on dark paper, for the states' colours are the same on both."""
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
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.4,
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


def svg_of(figure: Figure, name: str = "figure", label: str = "") -> str:
    """The figure as inline SVG that scales to its place and takes the page's ink; closes it.

    `name` keeps its inner references apart from those of other figures on a page; `label` is what a screen
    reader says of it.
    """
    stream = io.StringIO()
    with plt.rc_context(RC):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = _NUMBERS.sub(_shortened, text)
    text = _own_ids(text, name)
    # text stays text: it can be selected, searched, and takes the page's font
    text = text.replace(ARRIVALS.lower(), f"var(--blue,{ARRIVALS})")  # too dark for dark paper
    text = text.replace(INK, "currentColor").replace("'DejaVu Sans'", "inherit").replace("\n", " ")
    head, body = re.sub(r" {2,}", " ", text).strip().split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} class="figure" role="img" aria-label="{escape(label or name, quote=True)}">{body}'


def svg_file_of(svg: str) -> str:
    """An inline SVG as a file of its own: ink and paper follow what the reader prefers, light or dark."""
    head, body = svg.split(">", 1)
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    if found is not None:
        head += f' width="{found[1]}pt" height="{found[2]}pt"'
    paper = (
        "<style>svg{color:#1b1f24;background:#fff;font-family:sans-serif}"
        "@media(prefers-color-scheme:dark){svg{color:#e8ecf0;background:#14171a;--blue:#56B4E9}}</style>"
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}>{paper}{body}\n'


def png_of(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG on white; leaves it open."""
    stream = io.BytesIO()
    with plt.rc_context(RC):
        figure.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


_NUMBERS = re.compile(r'\s(?:d|x|y|points|transform)="[^"]*"')


def _shortened(attribute: re.Match[str]) -> str:
    """A tenth of a point is finer than a screen shows; matplotlib writes millionths."""
    return re.sub(r"\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), attribute[0])


def _own_ids(svg: str, name: str) -> str:
    """Only the ids that something refers to, and those under the figure's own name."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))

    def kept(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in used else ""

    svg = re.sub(r'\sid="([^"]*)"', kept, svg)
    return re.sub(r'(url\(#|href="#)', rf"\1{name}-", svg)
