"""Validation of a background model: spurious and injected signals, envelopes, sliding windows, toys of the whole.

Import from `resonaut.stats`, the front door.
"""
