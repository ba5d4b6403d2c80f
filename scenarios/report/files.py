"""Pictures and numbers as files of their own, in a folder that appears whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from scenarios.errors import UserMistake
from scenarios.record import Record
from scenarios.report.figures import PAINTERS, figure_of, side_by_side
from scenarios.report.frontier import frontier_figure, way_back_figure
from scenarios.report.groups import Group
from scenarios.report.numbers import compare_tables, run_tables
from scenarios.report.style import png_of, svg_file_of, svg_of

FIGURES = "figures"
HEIGHTS_IN = {"connections": 4.0, "reconnects": 2.4, "pods": 2.8, "way-back": 2.6}


def write_run_figures(folder: Path, record: Record, summary: Mapping[str, Any]) -> Path:
    """Each picture of a run as PNG and SVG, and every number as CSV, in `figures/` of its folder.

    Not made with every run: they take longer than the report itself, and hold nothing that the tables do
    not. Raises UserMistake where the folder cannot be written.
    """
    figures = {
        name: figure_of(painter, record, height_in=HEIGHTS_IN[name]) for name, painter in PAINTERS.items()
    }
    return _write(folder / FIGURES, figures, run_tables(record, summary))


def write_compare_figures(folder: Path, groups: Sequence[Group]) -> Path:
    """The pictures of a comparison as PNG and SVG, and every number as CSV, in this folder.

    Raises UserMistake where it cannot be written.
    """
    firsts, names = [group.first for group in groups], [group.name for group in groups]
    figures: dict[str, Figure | None] = {
        name: side_by_side(PAINTERS[name], firsts, names, height_in=2.6)
        for name in ("connections", "reconnects", "pods")
    }
    figures |= {"way-back": way_back_figure(groups), "frontier": frontier_figure(groups)}
    return _write(folder, figures, compare_tables(groups))


def _write(folder: Path, figures: Mapping[str, Figure | None], tables: Mapping[str, pl.DataFrame]) -> Path:
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
            part = Path(made) / folder.name
            part.mkdir()
            for name, figure in figures.items():
                if figure is not None:
                    (part / f"{name}.png").write_bytes(png_of(figure))
                    (part / f"{name}.svg").write_text(svg_file_of(svg_of(figure, name)), encoding="utf-8")
            for name, table in tables.items():
                (part / f"{name}.csv").write_text(table.write_csv(), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            part.rename(folder)
    except OSError as error:
        raise UserMistake(
            f"cannot write {folder}: {error.strerror}; make room, or name another folder"
        ) from None
    return folder
