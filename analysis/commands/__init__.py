"""Commands that are not stages of a search, most of them the statistics alone, on a histogram that somebody made."""

from __future__ import annotations

from resonaut.analysis.commands.benchmark import benchmark
from resonaut.analysis.commands.bottleneck import bottleneck
from resonaut.analysis.commands.bumphunt import bumphunt
from resonaut.analysis.commands.export import export
from resonaut.analysis.commands.features import features
from resonaut.analysis.commands.fetch import fetch
from resonaut.analysis.commands.fit import fit
from resonaut.analysis.commands.generate import generate
from resonaut.analysis.commands.inject import inject
from resonaut.analysis.commands.limit import limit
from resonaut.analysis.commands.plot import plot
from resonaut.analysis.commands.scan import scan
from resonaut.analysis.commands.score import score
from resonaut.analysis.commands.searches import searches
from resonaut.analysis.commands.toys import toys
from resonaut.analysis.commands.unblind import unblind
from resonaut.analysis.commands.validate import validate

__all__ = ("COMMANDS",)

COMMANDS = (
    features,
    benchmark,
    bottleneck,
    fit,
    scan,
    bumphunt,
    toys,
    limit,
    searches,
    inject,
    validate,
    unblind,
    plot,
    fetch,
    generate,
    score,
    export,
)
