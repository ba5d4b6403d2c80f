"""Several finished runs side by side on one page."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from scenarios.folders import whole_file
from scenarios.record import read_record


def compare_runs(folders: Sequence[Path], out: Path, figures: bool = False) -> Path:
    """Write `compare-<time>.html` beside the runs and return its path.

    With `figures`, a folder `compare-<time>` too: each picture as PNG and SVG, every number as CSV. Raises
    RecordError for what is no run folder, UserMistake when the page cannot be written.
    """
    from scenarios.report.comparison import compare_page
    from scenarios.report.files import write_compare_figures
    from scenarios.report.groups import grouped

    records = [read_record(folder) for folder in folders]
    summaries = [json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in folders]
    names = [str(folder) for folder in folders]
    path = write_page(compare_page(records, summaries, names), out, "compare")
    if figures:
        write_compare_figures(path.with_suffix(""), grouped(records, summaries, names))
    return path


def write_page(page: str, out: Path, stem: str) -> Path:
    """Write `<stem>-<time>.html` and return its path. Raises UserMistake when it cannot be written."""
    path = _free(out / f"{stem}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.html")
    with whole_file(path, "give another folder by --out") as part:
        part.write_text(page, encoding="utf-8")
    return path


def _free(path: Path) -> Path:
    """Two comparisons may be made in one second."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
