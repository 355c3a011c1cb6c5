"""Runtimes: what runs an artifact, one module each."""
