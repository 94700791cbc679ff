"""Whole events: lists of jets, leptons and photons, their selections, their encodings for networks.

Import from `resonaut.processors`, the front door.
"""
