"""Where events come from: one class a layout, found by the content of a file.

Import from `resonaut.processors`, the front door.
"""
