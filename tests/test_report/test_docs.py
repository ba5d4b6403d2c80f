"""The documentation: reference pages say what the code says, examples work, links lead somewhere."""

import re
from pathlib import Path

import pytest

from scenarios import docs
from scenarios.errors import EXIT_MEANINGS, Exit
from scenarios.record import EXTRA, TABLES
from scenarios.spec import load
from scenarios.thresholds import METRICS

DOCS = docs.FOLDER.parent


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_reference_is_what_the_code_says(capsys):
    assert docs.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_page_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(docs, "FOLDER", tmp_path)
    monkeypatch.setattr(docs.stale, "__defaults__", (tmp_path,))
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    (tmp_path / "metrics.md").write_text("old")
    assert docs.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "metrics.md is stale" in told
    assert len(told.splitlines()) == 1


def test_the_reference_leaves_nothing_out():
    pages = docs.pages()
    for metric in METRICS:
        assert f"`{metric}`" in pages["metrics.md"]
    for table, columns in TABLES.items():
        assert f"## {table}.parquet" in pages["record.md"]
        for column in (*columns, *EXTRA.get(table, ())):
            assert f"`{column}`" in pages["record.md"]
    for code in Exit:
        assert EXIT_MEANINGS[code] in pages["exit-codes.md"]
    for key in (
        "users.session.weibull.shape",
        "strategy.rainbow.max_releases",
        "drain.policy.few.left",
        "faults[].at",
    ):
        assert f"`{key}`" in pages["spec.md"]
    for command in ("run", "simulate", "compare", "validate", "report", "plan", "clean", "doctor"):
        assert f"## drainbow {command}\n" in pages["cli.md"]
    assert not re.search(r"\| +\|$", pages["spec.md"], re.MULTILINE)  # every key has a meaning


def test_the_scenario_of_the_how_to_is_one(tmp_path):
    whole, faults = blocks("how-to-write-a-scenario.md", "yaml")
    path = tmp_path / "helpdesk.yaml"
    path.write_text(whole + faults)
    spec = load(str(path))
    assert [fault.kind for fault in spec.faults] == ["kill_pod", "backend_down", "deployer_killed"]
    assert [deploy.kind for deploy in spec.planned_deploys()] == ["deploy", "deploy", "rollback"]


def test_the_strategy_of_the_how_to_works():
    code = "\n".join(blocks("how-to-write-a-strategy.md", "python"))
    assert "assert " in code
    exec(compile(code, "how-to-write-a-strategy.md", "exec"), {"__name__": "example"})


@pytest.mark.parametrize(
    "page", sorted([*DOCS.parent.glob("*.md"), *DOCS.rglob("*.md")]), ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not heading or heading in headings(found), f"{target}#{heading}"


def headings(page: Path) -> set[str]:
    """As links name them: in small letters, with hyphens, and without marks."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in lines}


def test_every_page_is_reached_from_the_index():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#:]+\.md)\)", index)}
    assert {page.resolve() for page in DOCS.rglob("*.md")} - {DOCS / "index.md"} == linked
