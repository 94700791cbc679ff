"""Jets from particles: clustering and substructure in compiled loops.

Import from `resonaut.processors`, the front door.
"""
