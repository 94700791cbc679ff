"""What events look like in memory: NanoEvents of any source, and lists of reconstructed objects.

Import from `resonaut.processors`, the front door.
"""
