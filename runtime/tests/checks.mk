# Checks of the native code, which the Makefile above this folder includes.
#   make fuzz               hostile files for FUZZ_SECONDS, under sanitizers: needs clang and libclang-rt-14-dev, or g++
#   make test-aarch64-ops   the sweep of operators on emulated ARM processors: needs qemu-user
#   make test-aarch64       the wheel in an emulated arm64 Debian: needs qemu-user, and apt with the network

FUZZ_SECONDS ?= 600

.PHONY: fuzz test-aarch64-ops test-aarch64

fuzz: $(VENV)/.installed
	nice -n 10 $(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

test-aarch64-ops: $(VENV)/.installed
	$(BIN)/python -m pytest tests/test_aarch64.py -rs

test-aarch64: $(VENV)/.installed
	$(BIN)/python tests/aarch64_root.py
