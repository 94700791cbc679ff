"""Local and global significance: windows, masses, BumpHunter, trials, combination.

Import from `resonaut.stats`, the front door.
"""
