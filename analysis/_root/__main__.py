"""`python -m resonaut` is the `resonaut` command."""

from __future__ import annotations

from resonaut.analysis.cli import main

main()
