"""The fast crowd: the oracle's users as rows of arrays, moved by one compiled event loop."""
