# bopkit: each of these does its own set-up on a machine with Python 3.11 and make.
#   make demo    train, export and benchmark a small network on the embedded digits
#   make test    the tests; bare `pytest` in the environment runs the fast ones
#   make test-release    whole networks, many repetitions, wheels and fuzzing: what a release needs besides

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SOURCES := bopkit cli models export runtime tests
NATIVE := $(wildcard runtime/src/* runtime/include/* runtime/*.py runtime/*.toml)
RUNTIME_MAKE := $(MAKE) -C runtime -o .venv/.installed BIN=../$(BIN)
DEMO := demo

.PHONY: demo test test-release test-device-aarch64 fix check docs clean

# Editable: from the root of the repository a plain install would be hidden by the folder bopkit/.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# The native runtime, compiled by ziglang; `make demo` does without it. Without isolation: a compiler in a folder of its own
# would build its C++ library anew.
$(VENV)/.runtime: $(VENV)/.installed $(NATIVE)
	$(BIN)/python -m pip install --quiet 'setuptools>=77' 'ziglang>=0.13'
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable './runtime[dev]'
	touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/bopkit train binarynet --dataset digits --hparams-set bop_digits --validationset --output-dir $(DEMO)
	$(BIN)/bopkit export $(DEMO)/model.h5 --tflite --savedmodel
	$(BIN)/bopkit benchmark $(DEMO)/model.h5 $(DEMO)/model $(DEMO)/model.tflite --dataset digits

# A process gets one file after the other, in the order of tests/conftest.py: the longest first.
test: $(VENV)/.runtime
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not release"
	cd runtime && ../$(BIN)/python -m pytest -n 2 --dist loadfile

# The demo itself is run by tests/integration/test_demo.py.
test-release: $(VENV)/.runtime
	$(BIN)/python -m pytest -n 2 --dist load -m release
	cd runtime && ../$(BIN)/python -m pytest -n 2 --dist loadfile -m integration
	for kind in tflite h5 keras savedmodel; do \
		$(BIN)/python tests/fuzz.py --kind $$kind --seed 0 --seconds 30 || exit 1; \
	done
	if command -v qemu-aarch64 >/dev/null && [ -x /usr/sbin/sshd ] && \
		PYTHONPATH=runtime/tests $(BIN)/python -c "import aarch64_root; aarch64_root.make_root()"; then \
		$(MAKE) test-device-aarch64; \
	else \
		echo "Skipped test-device-aarch64: it needs qemu-user, an ssh server and Debian's arm64 packages."; \
	fi

# A device of another architecture: an arm64 Debian under qemu-user behind an ssh server. Needs apt with the network.
test-device-aarch64: $(VENV)/.runtime
	PYTHONPATH=runtime/tests:tests/support $(BIN)/python tests/device_aarch64.py

fix: $(VENV)/.installed
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(RUNTIME_MAKE) format

# Types are checked on a scratch install: on the mapped folders mypy would see two files and call that success.
check: $(VENV)/.installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(RUNTIME_MAKE) check
	rm -rf .typecheck build
	$(BIN)/python -m pip install --quiet --no-deps --target .typecheck .
	$(BIN)/python tests/check_types.py
	$(BIN)/python -m mypy runtime/bopkit_runtime
	$(BIN)/python -m pytest -q tests/test_docs.py tests/core/test_imports.py

docs: $(VENV)/.installed
	$(BIN)/typer bopkit.cli.main utils docs --name bopkit --title "bopkit command line" --output docs/cli.md
	$(BIN)/python -c "from bopkit.benchmark.reports.schema import write_schema; write_schema('docs/benchmark.schema.json')"

clean:
	rm -rf $(VENV) $(DEMO) .typecheck build *.egg-info
