"""Benchmarks that state ratios: what is compared runs in the same process, one after the other."""
