"""Injection campaigns: the whole search again for each signal in the data, and the limits that follow from it."""

from __future__ import annotations

from resonaut.analysis.injections.campaign import describe_campaign, run_campaign

__all__ = ("describe_campaign", "run_campaign")
