"""Simulated events of one's own: Pythia 8, a fast detector simulation, and files in the layouts of the sources.

Import from `resonaut.processors`, the front door.
"""
