"""Corrections of simulated events, and the variations that their uncertainties make of them.

Import from `resonaut.processors`, the front door.
"""
