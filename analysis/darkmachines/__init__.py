"""The Dark Machines anomaly score challenge (arXiv:2105.14027), from CSV files to the table of scores."""

from __future__ import annotations
