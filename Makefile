# The project's commands. `make venv` sets everything up; `make demo` shows the product; `make test` proves it.
# Everything below runs without a terminal, and again and again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin
UV := .venv-uv/bin/uv
# what is linted and type-checked
CODE := src tests demo scripts benchmarks
# two workers: the tests' own servers and tools need the rest of a small machine
WORKERS ?= 2
# a job that is tortured mostly waits
TORTURE_WORKERS ?= 4

.PHONY: help venv system demo test torture check lint types fix bench fuzz interop docs cluster lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 12

# ---------------------------------------------------------------- set-up

venv: system .venv/.installed .venv-tsc042/.synced .venv-emulators/.synced  ## set up everything: Debian packages that are missing, environments
	@echo "ready: .venv/bin holds strongroom, tsm and initialize-tsm"

system:
	@bash scripts/system.sh requirements/debian.txt

.venv-uv/.synced: requirements/uv.txt scripts/bootstrap_uv.sh | system
	@bash scripts/bootstrap_uv.sh .venv-uv requirements/uv.txt
	@touch $@

.venv/.synced: requirements/dev.txt .venv-uv/.synced
	@$(UV) venv --quiet --allow-existing --python .venv-uv/bin/python .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements/dev.txt
	@touch $@

# hatchling is part of the lock, so nothing is fetched here
.venv/.installed: pyproject.toml .venv/.synced
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src    # commands start 30 ms sooner, also where no bytecode may be written later
	@touch $@

.venv-tsc042/.synced: requirements/tsc042.txt .venv-uv/.synced
	@$(UV) venv --quiet --allow-existing --python .venv-uv/bin/python .venv-tsc042
	@$(UV) pip sync --quiet --python .venv-tsc042/bin/python --require-hashes --compile-bytecode requirements/tsc042.txt
	@touch $@

lock: .venv-uv/.synced  ## compile the locks anew (hashes, and no registry's address)
	@bash scripts/lock.sh $(UV)

clean:  ## remove the environments and every cache
	rm -rf .venv .venv-uv .venv-tsc042 .venv-emulators .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov .coverage .coverage.*

# ---------------------------------------------------------------- show

demo: venv  ## a node in a temporary directory, driven by the real tabcmd and TSC
	@$(BIN)/python -m demo.run

# ---------------------------------------------------------------- prove

test: venv  ## everything: lint, types, layers, all tests with real tools, a sample of the faults, coverage
	@WORKERS=$(WORKERS) bash scripts/test.sh

check: venv lint types  ## the quick round: lint, types, layers and the tests that need no other tool
	@$(BIN)/pytest -q -n $(WORKERS) tests/unit tests/property tests/vectors tests/structure

lint:
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/lint-imports --no-logo

types:
	@$(BIN)/mypy

fix: venv  ## format, and repair what the linter can repair
	@$(BIN)/ruff check --fix $(CODE) || true
	@$(BIN)/ruff format $(CODE)

torture: venv  ## every enumeration of faults, whole
	@$(BIN)/python -m compileall -q src tests
	@$(BIN)/pytest -n $(TORTURE_WORKERS) --dist worksteal -m torture --torture whole --timeout 7200 tests

interop: venv  ## only the tests with other people's tools
	@$(BIN)/pytest -n $(WORKERS) -m interop tests

cluster:  ## tests with ZooKeeper and PostgreSQL: this version has none
	@echo "this version runs on one node: there are no cluster tests yet, so nothing was tested"

# emulators of AWS and a real OpenBao: ministack pins the SDK, so they live apart
.venv-emulators/.synced: requirements/emulators.txt .venv-uv/.synced
	@$(UV) venv --quiet --allow-existing --python .venv-uv/bin/python .venv-emulators
	@$(UV) pip sync --quiet --python .venv-emulators/bin/python --require-hashes requirements/emulators.txt
	@touch $@

bench: venv  ## measure the data path and the commands beside the tools that people use today; BENCH="--size 64M"
	@$(MAKE) --no-print-directory .venv-emulators/.synced || echo "no OpenBao to measure against" >&2
	@$(BIN)/python -m benchmarks.run $(BENCH)

fuzz: venv  ## fuzz every parser of foreign bytes; FUZZ_SECONDS each (default 60)
	@$(BIN)/python -m scripts.fuzz --seconds $${FUZZ_SECONDS:-60}

docs: venv  ## write the reference anew, then check every link
	@$(BIN)/python -m scripts.reference --write
	@$(BIN)/python -m scripts.links
