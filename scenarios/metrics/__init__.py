"""From a record's tables to the numbers of summary.json, by the same code for every world and level."""

from scenarios.metrics.attribution import attribute
from scenarios.metrics.summary import Summary, summarise, summary_json

__all__ = ["Summary", "attribute", "summarise", "summary_json"]
