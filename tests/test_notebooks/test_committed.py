"""The committed notebooks can be read without being run: question, pictures, answer, and no model of their own."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST_BYTES = 400_000
OWN = {"picture", "told", "tried", "burndown", "table"}
"""Functions that a notebook may define: they show and collect, and compute nothing."""


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def test_all_five_are_there() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_with_the_question_and_ends_with_the_answer(path: Path) -> None:
    first, last = cells(path)[0], cells(path)[-1]
    assert "**Question.**" in "".join(first["source"])
    assert "".join(last["source"]).startswith("**Answer.**")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_run_in_order_with_pictures_and_small(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    assert path.stat().st_size < LARGEST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_no_model_and_names_no_machine(path: Path) -> None:
    sources = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.ClassDef)
            assert not isinstance(node, ast.FunctionDef) or node.name in OWN
            assert not isinstance(node, ast.ImportFrom) or node.module != "numpy"
    text = path.read_text(encoding="utf-8")
    assert str(Path.home()) not in text
    assert str(FOLDER.parent) not in text
