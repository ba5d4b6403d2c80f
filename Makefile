# Every target does its own set-up; .venv/bin/drainbow is the command behind them.
STRATEGY   ?= rainbow
SCENARIO   ?= quick
STRATEGIES ?= recreate rolling rainbow
SEEDS      ?= 30
# WORLD=local|sim|kind|current decides where; left empty, the program takes the best that is here and says which.
WORLD      ?=
ARGS       ?=
DRAINBOW   := .venv/bin/drainbow
SHORT      := -m 'not cluster and not long and not notebooks'
world       = $(if $(WORLD),--world $(WORLD))

.DEFAULT_GOAL := help
.PHONY: help setup scenario simulate compare validate test test-cluster test-long test-crash kind-up kind-down known-answers bench bench-sim study-drain notebooks lint clean

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: pyproject.toml constraints.txt scripts/setup
	@scripts/setup

setup: .venv/ready  ## .venv with everything in it

scenario: .venv/ready  ## deploy under real users: STRATEGY, SCENARIO, WORLD, ARGS
	@$(DRAINBOW) run $(SCENARIO) --strategy $(STRATEGY) $(world) $(ARGS)

simulate: .venv/ready  ## the same scenario on a virtual clock: STRATEGY, SCENARIO, SEEDS, ARGS
	@$(DRAINBOW) simulate $(SCENARIO) --strategy $(STRATEGY) --seeds $(SEEDS) $(ARGS)

compare: .venv/ready  ## one run per strategy, side by side: STRATEGIES, SCENARIO, WORLD, ARGS
	@$(DRAINBOW) compare --scenario $(SCENARIO) $(foreach s,$(STRATEGIES),--strategy $(s)) $(world) $(ARGS)

validate: .venv/ready  ## hold the simulation against a real run of each strategy: STRATEGIES, SCENARIO, WORLD (else local), SEEDS
	@$(DRAINBOW) validate $(SCENARIO) $(foreach s,$(STRATEGIES),--strategy $(s)) --world $(or $(WORLD),local) --seeds $(SEEDS) $(ARGS)

lint: .venv/ready  ## ruff, mypy, import-linter
	@.venv/bin/ruff check . && .venv/bin/ruff format --check -q . && .venv/bin/mypy && .venv/bin/lint-imports --no-cache >/dev/null || { .venv/bin/lint-imports; exit 1; }

test: .venv/ready lint  ## everything that every change must pass, under 10 minutes
	@.venv/bin/pytest -n 3 --ignore tests/end_to_end $(SHORT) $(ARGS)
	@.venv/bin/pytest -n 5 tests/end_to_end --ignore tests/end_to_end/test_quick.py $(SHORT) $(ARGS)
	@.venv/bin/pytest tests/end_to_end/test_quick.py $(SHORT) $(ARGS)

test-cluster: .venv/ready  ## on a real Kubernetes (kind): the contract suite and quick with rainbow, under 15 minutes
	@.venv/bin/pytest -n 2 --dist worksteal -m 'cluster and not long' $(ARGS)

test-long: .venv/ready  ## every strategy in every world, the large fleets
	@.venv/bin/pytest -m 'long' $(ARGS)

test-crash: .venv/ready  ## SIGKILL of the deployer at every write to a real cluster
	@.venv/bin/pytest -m cluster -k killed tests/test_kubernetes $(ARGS)

kind-up: .venv/ready  ## the kind cluster that scenarios use
	@.venv/bin/python -m scenarios.worlds.kind_cluster up

kind-down: .venv/ready  ## delete it
	@.venv/bin/python -m scenarios.worlds.kind_cluster down

known-answers: .venv/ready  ## every number known beforehand, under 3 minutes
	@.venv/bin/pytest -n 2 -m 'known_answer and not long' $(ARGS)

bench-sim: .venv/ready  ## how fast the simulation is: ratios to baselines of the same run, about 15 minutes
	@.venv/bin/python -m bench.simulation $(ARGS)

bench: bench-sim  ## every benchmark

study-drain: .venv/ready  ## drain policies compared in simulation, docs/study-drain.md: about 8 minutes
	@.venv/bin/python -m scenarios.study_drain

notebooks: .venv/ready  ## execute every notebook
	@.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[notebooks]'
	@.venv/bin/pytest -m notebooks tests/test_notebooks $(ARGS)

clean: .venv/ready  ## what a killed run left, in any world
	@$(DRAINBOW) clean
