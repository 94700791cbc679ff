"""Normalising flows: densities of events and of features given the mass, and transport from one mass to another."""

from __future__ import annotations

from resonaut.models.flows.density import ConditionalFlow
from resonaut.models.flows.mixed import MixedFlow
from resonaut.models.flows.options import FlowOptions
from resonaut.models.flows.transport import TransportFlow

__all__ = ("ConditionalFlow", "FlowOptions", "MixedFlow", "TransportFlow")
