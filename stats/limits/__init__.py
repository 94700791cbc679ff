"""Upper limits: hypotheses, profiles, toys, channels, pyhf workspaces, four regions.

Import from `resonaut.stats`, the front door.
"""
