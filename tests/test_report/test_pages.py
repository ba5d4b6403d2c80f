"""The pages: the same bytes for the same record, nothing from outside, HTML that nests, all that a reader needs."""

import re
from dataclasses import replace

import polars as pl
import pytest

from scenarios.report.comparison import compare_page
from scenarios.report.pages import ROWS, run_page

OUTSIDE = re.compile(
    r"(?:src|href|url\()\s*=?\s*[\"'(]?\s*(?:https?:|//|file:)|@import|<script|<link", re.IGNORECASE
)


@pytest.fixture(scope="module")
def rolling_page(tiny, summary_of):
    record = tiny("rolling")
    return run_page(record, summary_of(record))


@pytest.fixture(scope="module")
def comparison(tiny, summary_of):
    records = [tiny("rolling"), tiny("rolling", seed=8), tiny("rainbow"), tiny("rainbow", seed=8)]
    return records, compare_page(records, [summary_of(r) for r in records], [f"runs/{n}" for n in range(4)])


def both(rolling_page, comparison):
    return {"run": rolling_page, "compare": comparison[1]}


def test_the_same_record_gives_the_same_bytes(rolling_page, tiny, summary_of):
    record = tiny("rolling")
    assert run_page(record, summary_of(record)) == rolling_page


def test_another_seed_gives_another_page(rolling_page, tiny, summary_of):
    record = tiny("rolling", seed=8)
    assert run_page(record, summary_of(record)) != rolling_page


@pytest.mark.parametrize("which", ["run", "compare"])
def test_a_page_refers_to_nothing_outside_of_itself(which, rolling_page, comparison, page_of):
    text = both(rolling_page, comparison)[which]
    assert OUTSIDE.search(text) is None
    for tag, attributes in page_of(text).tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)


@pytest.mark.parametrize("which", ["run", "compare"])
def test_a_page_nests_and_its_inner_references_are_unique_and_resolve(
    which, rolling_page, comparison, page_of
):
    text = both(rolling_page, comparison)[which]
    page = page_of(text)
    assert page.wrong == []
    assert text.startswith("<!doctype html>\n<html lang")
    assert len(page.ids) == len(set(page.ids))
    used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
    assert {one or other for one, other in used} <= set(page.ids)
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")


def test_a_run_page_has_every_part(rolling_page, page_of, tiny):
    text = page_of(rolling_page).text
    record = tiny("rolling")
    for heading in (
        "Reconnects per second",
        "The way back",
        "Pods by what",
        "Summary",
        "Deploys",
        "How to run it again",
    ):
        assert heading in text
    for release in record.deploys["release"]:
        assert release in text
        assert f"#{release}" in rolling_page
    assert "drainbow run tiny --strategy rolling --world sim" in text
    assert "drainbow 0.1.0" in text
    assert len(rolling_page) < 500_000


def test_ink_follows_the_page_in_light_and_dark(rolling_page):
    assert "currentColor" in rolling_page
    assert "#010203" not in rolling_page
    assert "prefers-color-scheme: dark" in rolling_page


def test_the_first_sentence_tells_the_outcome(tiny, summary_of, page_of):
    quiet = tiny("rainbow")
    summary = {**summary_of(quiet), "deploys_done": 2, "deploys_requested": 2}
    assert "2 of 2 deploys done; nobody was disconnected." in run_page(
        quiet, {**summary, "forced_reconnects": 0}
    )
    assert (
        "2 of 2 deploys done; 1 connection cut"
        in page_of(run_page(quiet, {**summary, "forced_reconnects": 1})).text
    )


@pytest.mark.parametrize("level", ["lost", "series"])
def test_a_record_that_keeps_less_still_makes_a_page(level, tiny, summary_of, page_of):
    record = tiny("rolling", f"record={level}")
    page = page_of(run_page(record, summary_of(record)))
    assert page.wrong == []
    assert ("A record of level series does not tell it." in page.text) == (level == "series")


def test_what_a_record_says_is_escaped(tiny, summary_of):
    record = tiny("rainbow")
    told = record.deploys.with_columns(
        pl.lit("<script>alert(1)</script>").alias("reason"), pl.lit("failed").alias("outcome")
    )
    page = run_page(replace(record, tables={**record.tables, "deploys": told}), summary_of(record))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_long_log_is_cut_and_says_so(tiny, summary_of, page_of):
    record = tiny("rainbow")
    many = pl.concat([record.actions] * (2 * ROWS // record.actions.height + 1))
    page = page_of(run_page(replace(record, tables={**record.tables, "actions": many}), summary_of(record)))
    assert f"of {many.height}; all are in actions.parquet" in page.text
    assert sum(tag == "code" for tag, _ in page.tags) <= ROWS + 10


def test_an_interrupted_run_says_so(tiny, summary_of):
    record = tiny("rainbow")
    page = run_page(replace(record, run={**record.run, "interrupted": True}), summary_of(record))
    assert "The run was interrupted" in page


def test_a_comparison_has_a_column_a_group_with_intervals_and_marks_the_best(comparison, page_of, summary_of):
    records, text = comparison
    page = page_of(text)
    assert text.count('<span class="soft">2 runs</span>') == 2
    means = [sum(summary_of(r)["pod_hours"] for r in records[at : at + 2]) / 2 for at in (0, 2)]
    for mean in means:
        assert f"{mean:.3f} h" in page.text
    row = re.search(r'<tr title="pod_hours:.*?</tr>', text)[0]
    assert re.findall(r'class="n (\w*)"', row) == ["best", ""] if means[0] < means[1] else ["", "best"]
    assert "…" in row


def test_a_comparison_names_what_differs_in_the_specs(tiny, summary_of, page_of):
    records = [tiny("rolling"), tiny("rolling", "users.count=40")]
    page = page_of(compare_page(records, [summary_of(r) for r in records], ["a", "b"]))
    assert "users.count" in page.text
    assert "compare with care" in page.text
    assert "rolling (count 40)" in page.text


@pytest.mark.parametrize("note", ["rolling was slow", "Rolling was slow.", "was it `slow`?"])
def test_every_note_is_a_sentence_whoever_wrote_it(note, tiny, summary_of, page_of):
    record = tiny("rolling")
    page = run_page(replace(record, run={**record.run, "notes": [note]}), summary_of(record))
    [said] = [one for one in re.findall(r'<p class="soft">(.*?)</p>', page) if "slow" in one]
    assert said[0].isupper()
    assert said[-1] in ".?"
    assert ".." not in said
