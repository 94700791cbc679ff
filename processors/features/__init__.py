"""Features of events and the processors that write tables of them.

Import from `resonaut.processors`, the front door.
"""
