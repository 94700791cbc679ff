"""Running processors over files: plans, executors, stored results, and the books.

Import from `resonaut.processors`, the front door.
"""
