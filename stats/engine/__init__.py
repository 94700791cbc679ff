"""Poisson fits of thousands of spectra at once: the arrays, the compiled kernels, the torch twin.

Import from `resonaut.stats`, the front door.
"""
