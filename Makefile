# Every target works on a fresh machine with Python ≥ 3.11: it first makes .venv agree with the pinned requirements.
# Recipes `exec` their last command, so that Ctrl-C and SIGTERM reach it and nothing in between.

PYTHON := .venv/bin/python
WORKERS ?= 2
TESTS ?=

# Hundreds of processes start while the tests run, and half a dozen with the portal: without kept bytecode each compiles
# everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-fast demo bench check format clean venv venv-dev

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

venv:
	@sh tools/venv.sh runtime

venv-dev:
	@sh tools/venv.sh dev

run: venv ## start the portal here (PORT=8000) and stay in the foreground
	@exec $(PYTHON) -m portal.launcher

test: venv-dev ## run everything that this machine has the components for; REQUIRE_ALL=1 makes a skip a failure
	@exec $(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup $(TESTS)

test-fast: venv-dev ## the unit suite, at most a minute
	@exec $(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup -m "not slow and not browser and not processes"

demo: venv ## the whole journey over HTTP against the running portal
	@exec $(PYTHON) manage.py demo

bench: venv-dev ## the benchmarks; writes benchmarks/results.json
	@exec $(PYTHON) -m benchmarks

check: venv-dev ## format, lint, types, import layers, templates, migrations, deploy check
	@exec $(PYTHON) tools/check.py

format: venv-dev ## rewrite the sources in the house format
	@$(PYTHON) -m ruff check --fix-only --quiet .
	@exec $(PYTHON) -m ruff format .

clean: ## remove caches and the virtual environment; the state directory stays
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
