"""Scenarios: the spec, the record of a run, its metrics and reports, and the program that ties them together."""
