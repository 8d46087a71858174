# make run [STUDY=mini|PATH]   set up, then run a study end to end
# make test                    set up, then run the tests
# make test-openrlhf           set up an environment of its own, then train and evaluate with OpenRLHF and vLLM on the CPU
# make test-crate              set up the judges of RO-Crates, then export a study and hear them
# make test-slurm              as root: install Debian's Slurm if it is absent, start a cluster of its own, and test on it
# make test-browser           install Debian's chromium if it is absent (as root), then test the page of a study in it
# make docs                    set up mkdocs, then build the documentation into site/, with warnings as errors
# make check                   every linter and type check
SHELL := /bin/bash
STUDY ?= mini
PYTHON ?= python3
BIN := .venv/bin
# The models are small: one thread a job, as many jobs as cores.
export OMP_NUM_THREADS := 1

.PHONY: setup setup-dev run test test-crate test-openrlhf test-slurm install-slurm test-browser install-chromium check docs locks format bench bench-planning coverage clean

setup: .venv/core
setup-dev: .venv/dev

.venv/core: envs/core.txt pyproject.toml
	@echo "Setting up .venv (a few minutes the first time; log: .venv/setup.log)"
	@$(PYTHON) -m venv .venv
	@{ $(BIN)/pip install -r envs/core.txt && $(BIN)/pip install --no-deps -e . && $(BIN)/python -m compileall -q src && $(BIN)/python -m rlscale.models.compile; } > .venv/setup.log 2>&1 \
	  || { tail -n 20 .venv/setup.log; exit 1; }
	@touch $@

.venv/dev: .venv/core envs/dev.txt
	@{ $(BIN)/pip install -c envs/core.txt -r envs/dev.txt && $(BIN)/pip install --no-deps openrlhf==0.11.2; } >> .venv/setup.log 2>&1 \
	  || { tail -n 20 .venv/setup.log; exit 1; }
	@touch $@

.venv-openrlhf/ready: envs/openrlhf-cpu.txt pyproject.toml
	@echo "Setting up .venv-openrlhf (a few minutes and 4 GB the first time; log: .venv-openrlhf/setup.log)"
	@$(PYTHON) -m venv .venv-openrlhf
	@{ .venv-openrlhf/bin/pip install --no-deps -r envs/openrlhf-cpu.txt && .venv-openrlhf/bin/pip install --no-deps -e .; } > .venv-openrlhf/setup.log 2>&1 \
	  || { tail -n 20 .venv-openrlhf/setup.log; exit 1; }
	@touch $@

.venv-docs/ready: envs/docs.txt
	@echo "Setting up .venv-docs (half a minute the first time; log: .venv-docs/setup.log)"
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/pip install --no-deps -r envs/docs.txt > .venv-docs/setup.log 2>&1 || { tail -n 20 .venv-docs/setup.log; exit 1; }
	@touch $@

# rocrate 0.14 is there for a file in it: the last version that ships the JSON-LD context of RO-Crate 1.1.
.venv-crate/ready: envs/crate.txt tests/crate/contexts.py
	@echo "Setting up .venv-crate (half a minute the first time; log: .venv-crate/setup.log)"
	@$(PYTHON) -m venv .venv-crate
	@{ .venv-crate/bin/pip install --no-deps -r envs/crate.txt && rm -rf .venv-crate/rocrate-0.14 .venv-crate/contexts.sqlite \
	  && .venv-crate/bin/pip install --no-deps --target .venv-crate/rocrate-0.14 rocrate==0.14.0 \
	  && .venv-crate/bin/python tests/crate/contexts.py .venv-crate/rocrate-0.14 .venv-crate/contexts; } > .venv-crate/setup.log 2>&1 \
	  || { tail -n 20 .venv-crate/setup.log; exit 1; }
	@touch $@

.venv/browser: .venv/dev envs/browser.txt
	@$(BIN)/pip install --no-deps -r envs/browser.txt >> .venv/setup.log 2>&1 || { tail -n 20 .venv/setup.log; exit 1; }
	@touch $@

run: setup
	@$(BIN)/rlscale validate $(STUDY)
	@$(BIN)/snakemake --profile workflow/profiles/local --config study=$(STUDY)
	@$(BIN)/rlscale summary $(STUDY)

test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/property
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/workflow

test-openrlhf: .venv-openrlhf/ready
	@rm -f .venv-openrlhf/extensions/*/lock
	TORCH_EXTENSIONS_DIR=$(CURDIR)/.venv-openrlhf/extensions .venv-openrlhf/bin/python -m pytest tests/openrlhf

test-crate: setup-dev .venv-crate/ready
	$(BIN)/python -m pytest -s tests/crate

test-slurm: setup-dev install-slurm
	$(BIN)/python -m pytest tests/slurm

install-slurm:
	@which slurmctld slurmd slurmdbd munged mariadbd > /dev/null \
	  || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends slurm-wlm slurmdbd munge mariadb-server; } > slurm-setup.log 2>&1 \
	  || { tail -n 20 slurm-setup.log; exit 1; }

test-browser: .venv/browser install-chromium
	$(BIN)/python -m pytest tests/browser

install-chromium:
	@which chromium > /dev/null \
	  || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium; } > chromium-setup.log 2>&1 \
	  || { tail -n 20 chromium-setup.log; exit 1; }

check: setup-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/dvc stage list > /dev/null

docs: .venv-docs/ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --site-dir site

format: setup-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow/rules

locks: setup-dev   # resolve the environments for GPUs again
	$(BIN)/python -m tests.locks envs/train.txt envs/eval.txt

bench: setup-dev
	@for file in benchmarks/fit.py benchmarks/ladder.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

bench-planning: setup-dev   # up to an hour: grids of up to 3,000 runs, beside a Snakefile written by hand
	$(BIN)/python benchmarks/planning.py

coverage: setup-dev   # an hour; rewrites benchmarks/coverage.md
	$(BIN)/python -m benchmarks.interval_coverage

clean:
	rm -rf .venv .venv-crate .venv-docs .venv-openrlhf site .snakemake .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf src/*.egg-info
	@echo "results/ is kept; remove results/STUDY yourself to train a study anew"
