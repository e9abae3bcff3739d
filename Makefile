# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DIR ?= build/demo
SECONDS ?= 60
SEEDS ?= 200
RUN := $(BIN)/imi-node

.DEFAULT_GOAL := help
.PHONY: help demo test test-all interop conformance lint bench bench-peers simulate fuzz fuzz-one lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.runtime: requirements/runtime.lock requirements/build.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing what the node needs (hash-checked) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/runtime.lock --requirement requirements/build.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.lock
	@echo "Installing what the tests need (hash-checked) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.lock
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev requirements/fuzz.lock
	@echo "Installing the fuzzer (hash-checked; wheels exist for Linux on x86-64) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/fuzz.lock
	@touch $@

demo: $(VENV)/.runtime ## run a federation on this machine (ONCE=1: play the scenarios, check, end; DIR=folder)
	@$(RUN) demo --dir $(DIR) $(if $(ONCE),--once,)

test: $(VENV)/.dev ## tests with real nodes, databases and TLS (under 12 minutes)
	@$(BIN)/python -m pytest -m "not browser and not long" $(ARGS)

test-all: $(VENV)/.dev ## what `make test` leaves out: browser, laws at length, kills, a whole demo, other implementations
	@$(BIN)/python -m pytest -m "browser or long" $(ARGS)

interop: $(VENV)/.dev ## tests with other implementations as peers (phase4 among them: needs java and mvn)
	@$(BIN)/python -m pytest -m interop $(ARGS)

conformance: $(VENV)/.dev ## the AS4 conformance tests; writes docs/reference/as4-conformance.md
	@$(BIN)/python -m tools.conformance $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev ## measure; prints a table and writes build/bench.json (ARGS="search", BENCH_SIZES="15000 300000")
	@$(BIN)/python -m bench $(ARGS)

simulate: $(VENV)/.dev ## directories that converge whatever happens (SEEDS=200; SEED=17: one, told line by line)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

fuzz: $(VENV)/.fuzz ## fuzz what reads bytes from peers (SECONDS=60 for each target; ARGS="security" or "--help")
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

fuzz-one: $(VENV)/.dev ## run one input through one target (TARGET=mime FILE=path)
	@test -n "$(TARGET)" -a -f "$(FILE)" || { echo "Name both: make fuzz-one TARGET=mime FILE=build/fuzz/findings/mime-crash-..."; exit 2; }
	@$(BIN)/python -m tests.fuzz --replay "$(FILE)" $(TARGET)

bench-peers: $(VENV)/.dev ## measure beside phase4 (needs java and mvn; a quarter of an hour)
	@$(BIN)/python -m bench peers

lock: $(VENV)/.dev ## renew the locks (hashes, no addresses)
	@requirements/renew $(BIN)/uv

clean: ## remove what was built (the demo's folder too)
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache
