"""The zoo: one file an architecture, always in the same order: facts, blocks, build, hyper-parameter sets."""
