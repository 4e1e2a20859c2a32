# Cloudline: `make run` starts a working server with demo data, `make test` proves it.  `make` alone lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
COMPILE_STAMP := $(VENV)/.installed-compile
PYTEST := $(BIN)/python -m pytest
SCHEMA_TESTS := tests/api/test_schema.py
# Three parts.  What computes, on all cores, file by file and the long files first (tests/support/order.py).  What starts
# servers and softphones and waits for them, twice as many at a time.  And tests that are made of the API's schema, one by one:
# file by file they are lost (only the first one runs, and nothing says so).
CORES := $(shell nproc 2>/dev/null || echo 2)
BY_FILE := --dist loadfile --no-loadscope-reorder --durations=10
TEST_UNITS := $(PYTEST) -n auto $(BY_FILE) --ignore=tests/e2e --ignore=$(SCHEMA_TESTS)
TEST_E2E := $(PYTEST) -n $(shell expr 2 \* $(CORES)) $(BY_FILE) tests/e2e
TEST_SCHEMA := $(PYTEST) -n auto --dist load $(SCHEMA_TESTS)
ALL_TESTS := failed=0; $(TEST_UNITS) || failed=1; $(TEST_E2E) || failed=1; $(TEST_SCHEMA) || failed=1; exit $$failed

# What is imported is compiled once, whatever the shell says, and not by every worker, server and command of a run.
export PYTHONDONTWRITEBYTECODE :=

# ARGS passes on anything: make test ARGS="tests/sip -k digest -x"
ARGS ?=

.PHONY: help setup system run test check lint types architecture format e2e bench bench-live rules docs fuzz fuzz-properties simulate hunting soak compile uncompile test-compiled clean

help: ## this list
	@echo "make TARGET  (ARGS=... passes arguments on)"
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  \1|\2/' | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

# ---- set-up -----------------------------------------------------------------------------------------------------------------

setup: system $(STAMP) ## install what is missing: Debian packages (as root), .venv, Python packages; does nothing the second time
	@echo "==> Ready: $(BIN)/cloudline"

system:
	@PYTHON="$(PYTHON)" sh config/setup/debian.sh

$(STAMP): pyproject.toml constraints.txt setup.py config/setup/venv.sh | system
	@sh config/setup/venv.sh "$(PYTHON)" "$(VENV)"
	@echo "==> Installing Python packages (a minute or two the first time)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@echo "==> Installing what the comparison runs need"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,bench]'
	@touch $@

$(COMPILE_STAMP): $(STAMP)
	@echo "==> Installing what compiling needs"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,compile]'
	@touch $@

# ---- run --------------------------------------------------------------------------------------------------------------------

run: setup ## start a server on loopback with demo data and say how to call
	@exec $(BIN)/cloudline serve --demo $(ARGS)

# ---- prove ------------------------------------------------------------------------------------------------------------------

test: setup ## every test: units, scenarios, simulation, contracts, end to end
	@echo "==> Tests"
	@$(if $(strip $(ARGS)),$(PYTEST) --durations=10 $(ARGS),$(ALL_TESTS))

check: setup lint types architecture docs ## format, lint, types, import rules, documentation

lint: $(STAMP)
	@echo "==> Format"
	@$(BIN)/ruff format --check .
	@echo "==> Lint"
	@$(BIN)/ruff check .

types: $(STAMP)
	@echo "==> Types (mypy --strict)"
	@$(BIN)/mypy

architecture: $(STAMP)
	@echo "==> Import rules, reachability, file lengths, words"
	@$(PYTEST) tests/architecture

docs: $(STAMP) ## check the documentation: links, commands, options, settings, metrics that it names
	@echo "==> Documentation"
	@$(BIN)/python -m tests.support.docs

format: $(STAMP) ## rewrite the sources in the common format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

e2e: setup ## the server as a user starts it, with real softphones, SIPp, databases
	@echo "==> End to end"
	@$(PYTEST) tests/e2e -v $(ARGS)

rules: $(STAMP) ## which test proves which rule of the product, and which rules have none
	@$(BIN)/python -m tests.support.rules $(ARGS)

fuzz: $(STAMP) ## feed everything that reads SIP with odd input until something breaks or you stop it
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,fuzz]' \
		|| echo "==> atheris does not install here; fuzzing without coverage"
	@echo "==> Fuzzing; Ctrl-C stops"
	@$(BIN)/python tests/fuzz/fuzz_parser.py $(ARGS)

fuzz-properties: $(STAMP) ## run the property tests with ever new random input until one fails or you stop it
	@echo "==> Property tests; Ctrl-C stops"
	@round=1; while echo "-- round $$round" && CLOUDLINE_HYPOTHESIS=fuzz $(PYTEST) -m hypothesis --timeout=0 -p no:cacheprovider $(ARGS); \
		do round=$$((round + 1)); done

simulate: $(STAMP) ## simulated traffic, with crashes and bad networks, with ever new seeds until one fails or you stop it
	@echo "==> Simulation; Ctrl-C stops"
	@$(BIN)/python -m tests.simulation --forever $(ARGS)

hunting: $(STAMP) ## hunts of Greetings held against docs/hunting.md: all small cases, in all orders of events (many minutes)
	@echo "==> Hunts"
	@$(BIN)/python -m tests.hunting $(ARGS)

soak: setup ## a million hostile messages, ten thousand calls in which every other word is spoilt; memory must be where it was
	@echo "==> Hostile strangers and mad phones (some twenty minutes)"
	@CLOUDLINE_HOSTILE=1000000 CLOUDLINE_HOSTILE_CALLS=10000 $(PYTEST) tests/hostile --timeout=0 $(ARGS)

bench: setup $(BENCH_STAMP) ## load and comparison runs; a table and a plot in bench-results/
	@echo "==> Load and comparison runs (many minutes)"
	@$(BIN)/python -m loadtests.bench $(ARGS)

bench-live: setup $(BENCH_STAMP) ## what live state in Redis costs: CPU per call and set-up delay, against memory
	@echo "==> Live state in memory and in Redis (a few minutes)"
	@$(BIN)/python -m loadtests.livestate --check $(ARGS)

# ---- compiled core ----------------------------------------------------------------------------------------------------------

compile: $(COMPILE_STAMP) ## compile the pure core and what is on the way of a call in place with mypyc
	@echo "==> Compiling the core (a few minutes)"
	@CLOUDLINE_COMPILE=1 $(BIN)/python setup.py -q build_ext --inplace
	@echo "==> Compiled; make uncompile goes back to the interpreted core"

uncompile: ## remove the compiled core
	@find callcontrol dialplan gateway numbering -name '*.so' -delete
	@rm -f *__mypyc*.so
	@rm -rf build
	@echo "==> The core runs interpreted"

test-compiled: compile ## every test on the compiled core, which is removed afterwards
	@$(PYTEST) --durations=10 $(ARGS); code=$$?; $(MAKE) --no-print-directory uncompile; exit $$code

clean: uncompile ## remove what was built, but not .venv
	@rm -rf *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis bench-results
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
