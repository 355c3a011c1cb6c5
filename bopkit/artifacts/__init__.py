"""Artifacts: network files of every kind, read with the care that a stranger's file needs, and written whole."""
