"""Spectra and results from and to files: text, ROOT, HEPData, JSON.

Import from `resonaut.stats`, the front door.
"""
