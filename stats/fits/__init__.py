"""One fit of one spectrum: choice of the function by F-test, Minuit, errors, goodness of fit.

Import from `resonaut.stats`, the front door.
"""
