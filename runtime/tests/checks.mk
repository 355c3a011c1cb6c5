# Checks of the native code, which the Makefile above this folder includes.
#   make check              the layout of the native code, by .clang-format
#   make format             lays it out so
#   make fuzz               hostile files for FUZZ_SECONDS, under sanitizers: needs clang and libclang-rt-14-dev, or g++
#   make test-aarch64-ops   the sweep of operators on emulated ARM processors: needs qemu-user
#   make test-aarch64       the wheel in an emulated arm64 Debian: needs qemu-user, and apt with the network

FUZZ_SECONDS ?= 600

.PHONY: check format fuzz test-aarch64-ops test-aarch64

NATIVE_CODE := $(wildcard src/*.cc src/*.h include/*.h tests/*/*.cc tests/*/*.h benchmarks/*.c* examples/*.c)

check: $(VENV)/.installed
	$(BIN)/clang-format --dry-run --Werror $(NATIVE_CODE)

format: $(VENV)/.installed
	$(BIN)/clang-format -i $(NATIVE_CODE)

fuzz: $(VENV)/.installed
	nice -n 10 $(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

test-aarch64-ops: $(VENV)/.installed
	$(BIN)/python -m pytest tests/test_aarch64.py -m integration -rs

test-aarch64: $(VENV)/.installed
	$(BIN)/python tests/aarch64_root.py
