"""Checks of the files that an export has written: structure, then bits, then scores.

Each check returns the sentences of its failures, so that all of them are shown together.
"""
