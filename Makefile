# The project's commands. `make demo` shows the product and installs only what that needs; `make test` proves it, and sets up the rest.
# Everything below runs without a terminal, and again and again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin
UV := .venv-uv/bin/uv
# the project itself; commands start 30 ms sooner with bytecode, also where none may be written later
INSTALL = $(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . && $(BIN)/python -m compileall -q src
# what the environments take on the disk, measured by `make platforms`
DEMO_MB := 700
DEV_MB := 1700
# of a run of `make pressure`, or of `make soak`
MINUTES ?= 30
# of the choices of `make soak`; another one each time, unless it is given
SEED ?=
# what `make quick` compares the working tree with
SINCE ?= HEAD
# what is linted and type-checked
CODE := src tests demo scripts benchmarks
# three workers on two cores: a test waits for servers, tools and disks as long as for a processor
WORKERS ?= 3
# of `make test`: three use two cores to three quarters; each takes some 2.5 GB with its servers, so a small machine has three
TEST_WORKERS ?= $(shell awk '/^MemTotal/ { print ($$2 > 12000000) ? 4 : 3 }' /proc/meminfo)
# a job that is tortured mostly waits
TORTURE_WORKERS ?= 4

.PHONY: help venv dev product-packages packages platforms demo demo-cluster test torture soak quick check lint types pyright dist fix mutants pressure bench fuzz interop docs cluster lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 12

# ---------------------------------------------------------------- set-up

venv: product-packages .venv/.installed  ## set up what the product and its tour need: Python's venv, the product, tabcmd, TSC, pantab
	@echo "ready: .venv/bin holds strongroom, tsm, initialize-tsm and tabcmd"

dev: packages .venv/.dev .venv-tsc042/.synced .venv-clients/.synced .venv-vault/.synced .venv-emulators/.synced  ## set up all that the tests need: other people's servers and tools, too

product-packages:
	@bash scripts/system.sh requirements/debian-product.txt

packages: product-packages
	@bash scripts/system.sh requirements/debian.txt

.venv-uv/.synced: requirements/uv.txt scripts/bootstrap_uv.sh | product-packages
	@echo "making .venv-uv: the installer uv (60 MB)"
	@bash scripts/bootstrap_uv.sh .venv-uv requirements/uv.txt
	@touch $@

# packages are added and none removed: the environment may be the tests' already
.venv/.product: requirements/demo.txt .venv-uv/.synced
	@echo "making .venv: $$(grep -c '==' $<) Python packages, $(DEMO_MB) MB on the disk"
	@$(UV) venv --quiet --allow-existing --python .venv-uv/bin/python .venv
	@$(UV) pip install --python $(BIN)/python --require-hashes --compile-bytecode --requirement $< 2>&1 | grep -v '^ +'
	@touch $@

# hatchling is part of the lock, so nothing is fetched here
.venv/.installed: pyproject.toml .venv/.product
	@$(INSTALL)
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.installed | packages
	@echo "filling .venv: $$(grep -c '==' $<) Python packages of the tests, $(DEV_MB) MB on the disk"
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode $<
	@$(INSTALL)
	@touch $@

.venv-tsc042/.synced: requirements/tsc042.txt .venv-uv/.synced | packages
	@$(UV) venv --quiet --allow-existing --python .venv-uv/bin/python .venv-tsc042
	@$(UV) pip sync --quiet --python .venv-tsc042/bin/python --require-hashes --compile-bytecode requirements/tsc042.txt
	@touch $@

# other people's clients that speak JSON and the documented multipart form: they pin what ours does not
.venv-clients/.synced: requirements/clients.txt .venv-uv/.synced | packages
	@$(UV) venv --quiet --allow-existing --python .venv-uv/bin/python .venv-clients
	@$(UV) pip sync --quiet --python .venv-clients/bin/python --require-hashes --compile-bytecode requirements/clients.txt
	@touch $@

# hvac, keyring and programs that speak to Vault (SOPS is 50 MB); beside them the source distributions of hvac, with its own tests,
# and of pyarrow, with Arrow's sample client, by the hashes of the locks
.venv-vault/.synced: requirements/vault-clients.txt requirements/dev.txt .venv-uv/.synced | packages
	@$(UV) venv --quiet --allow-existing --python .venv-uv/bin/python .venv-vault
	@$(UV) pip sync --quiet --python .venv-vault/bin/python --require-hashes --compile-bytecode requirements/vault-clients.txt
	@awk '/^hvac==/ { on = 1 } on && /^ *#/ { exit } on' requirements/vault-clients.txt >.venv-vault/sources.txt
	@awk '/^pyarrow==/ { on = 1 } on && /^ *#/ { exit } on' requirements/dev.txt >>.venv-vault/sources.txt
	@.venv-uv/bin/pip --python .venv-vault/bin/python --quiet download --no-deps --no-binary hvac,pyarrow --no-build-isolation --require-hashes --dest .venv-vault/sdist --requirement .venv-vault/sources.txt
	@touch $@

lock: .venv-uv/.synced  ## compile the locks anew (hashes, and no registry's address)
	@bash scripts/lock.sh $(UV)

clean:  ## remove the environments and every cache
	rm -rf .venv .venv-uv .venv-tsc042 .venv-clients .venv-vault .venv-emulators .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov .coverage .coverage.*

# ---------------------------------------------------------------- show

demo: venv  ## a node in a temporary directory, driven by the real tabcmd and TSC
	@$(BIN)/python -m demo.run

# the tests' own servers: three of ZooKeeper, PostgreSQL, an AWS that enforces policies, an object store
demo-cluster: dev  ## three nodes on this machine, from nothing: a key that each proves, a node without its role, a machine that dies
	@$(BIN)/python -m demo.cluster

# ---------------------------------------------------------------- prove

test: dev  ## everything: lint, types, layers, all tests with real tools, a sample of the faults, coverage
	@WORKERS=$(TEST_WORKERS) bash scripts/test.sh

quick:  ## ten seconds after a change: lint, layers, types, and the tests of what differs from a commit; SINCE=HEAD
	@$(BIN)/python -m scripts.quick --since $(SINCE)

check: dev lint types  ## the quick round: lint, types, layers and the tests that need no other tool
	@$(BIN)/pytest -q -n $(WORKERS) tests/unit tests/property tests/vectors tests/structure

lint:
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/lint-imports --no-logo

types:
	@$(BIN)/mypy

# half a minute, so it is asked by `make test` and by whoever wants to know
pyright:  ## a second type checker, which sees what mypy does not: names of parameters, members that may be None
	@$(BIN)/basedpyright

dist:  ## wheels and sdists in dist/: built three times alike, installed in a fresh environment, tried
	@$(BIN)/python -m scripts.distribution

fix: dev  ## format, and repair what the linter can repair
	@$(BIN)/ruff check --fix $(CODE) || true
	@$(BIN)/ruff format $(CODE)

torture: dev  ## every enumeration of faults, whole
	@$(BIN)/python -m compileall -q src tests
	@$(BIN)/pytest -n $(TORTURE_WORKERS) --dist worksteal -m "torture or crossed" --torture whole --timeout 7200 tests

platforms:  ## the README's two commands in fresh Debian trees, as root and as a user; PLATFORMS="bookworm trixie", PLATFORM_STEPS="demo test"
	@bash scripts/platforms.sh

mutants: dev  ## break the product on purpose, one line at a time, and see whether the tests notice; MUTANTS="services"
	@$(BIN)/python -m scripts.mutants --workers $(WORKERS) $(MUTANTS)

pressure: dev  ## press a served node from outside, beside a reader and a probe; MINUTES=30
	@$(BIN)/python -m scripts.pressure $(MINUTES)

soak: dev  ## use a cluster of processes while everything is killed, stopped and hung, then judge it; MINUTES=30 SEED=1
	@$(BIN)/python -m tests.torture.soak $(MINUTES) $(if $(SEED),--seed $(SEED))

interop: dev  ## only the tests with other people's tools
	@$(BIN)/pytest -n $(WORKERS) -m interop tests

cluster: dev  ## nodes on three real ZooKeeper servers and PostgreSQL, and extracts in an object store, with every fault
	@$(BIN)/pytest -q -m "not interop" --torture whole --timeout 3600 tests/contract/test_coordinator.py tests/contract/coordination tests/contract/cluster tests/contract/objectstore tests/contract/filestore tests/canary/test_canary_cluster.py
	@echo "tested: joining and leaving, keys that each node proves, status of all nodes, jobs taken over, their services and extracts"

# emulators of AWS and a real OpenBao: ministack pins the SDK, so they live apart
.venv-emulators/.synced: requirements/emulators.txt .venv-uv/.synced | packages
	@$(UV) venv --quiet --allow-existing --python .venv-uv/bin/python .venv-emulators
	@$(UV) pip sync --quiet --python .venv-emulators/bin/python --require-hashes requirements/emulators.txt
	@touch $@

bench: dev  ## measure the data path and the commands beside the tools that people use today, and keep the figures; BENCH="--size 64M" keeps none
	@$(BIN)/python -m benchmarks.run $(if $(BENCH),$(BENCH),--keep)

fuzz: dev  ## fuzz every parser of foreign bytes; FUZZ_SECONDS each (default 60)
	@$(BIN)/python -m scripts.fuzz --seconds $${FUZZ_SECONDS:-60}

docs: dev  ## write the reference anew, then check every link
	@$(BIN)/python -m scripts.reference --write
	@$(BIN)/python -m scripts.links
