# make run [STUDY=mini|PATH]   set up, then run a study end to end
# make test                    set up, then run the tests
# make check                   every linter and type check
SHELL := /bin/bash
STUDY ?= mini
PYTHON ?= python3
BIN := .venv/bin
# The models are small: one thread a job, as many jobs as cores.
export OMP_NUM_THREADS := 1

.PHONY: setup setup-dev run test check format bench coverage clean

setup: .venv/core
setup-dev: .venv/dev

.venv/core: envs/core.txt pyproject.toml
	@echo "Setting up .venv (a few minutes the first time; log: .venv/setup.log)"
	@$(PYTHON) -m venv .venv
	@{ $(BIN)/pip install -r envs/core.txt && $(BIN)/pip install --no-deps -e . && $(BIN)/python -m compileall -q src && $(BIN)/python -m rlscale.models.compile; } > .venv/setup.log 2>&1 \
	  || { tail -n 20 .venv/setup.log; exit 1; }
	@touch $@

.venv/dev: .venv/core envs/dev.txt
	@$(BIN)/pip install -c envs/core.txt -r envs/dev.txt >> .venv/setup.log 2>&1 \
	  || { tail -n 20 .venv/setup.log; exit 1; }
	@touch $@

run: setup
	@$(BIN)/rlscale validate $(STUDY)
	@$(BIN)/snakemake --profile workflow/profiles/local --config study=$(STUDY)
	@$(BIN)/rlscale summary $(STUDY)

test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/property
	$(BIN)/python -m pytest tests/workflow

check: setup-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/dvc stage list > /dev/null

format: setup-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow/rules

bench: setup-dev
	@for file in benchmarks/fit.py benchmarks/ladder.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

coverage: setup-dev   # an hour; rewrites benchmarks/coverage.md
	$(BIN)/python benchmarks/interval_coverage.py

clean:
	rm -rf .venv .snakemake .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf src/*.egg-info
	@echo "results/ is kept; remove results/STUDY yourself to train a study anew"
