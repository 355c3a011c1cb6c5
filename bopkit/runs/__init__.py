"""Runs: what a training leaves on the disk, and looking at it."""
