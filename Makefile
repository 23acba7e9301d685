PYTHON_BIN := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full coverage lint bench bench-full docs lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 19

setup: ## Make .venv from constraints.txt (once; later calls return at once)
	@bash scripts/setup.sh

demo: setup ## From a public event log to served recommendations (DEMO_USERS=n: that many users)
	$(PYTHON_BIN) -m tfx_pipeline.demo

test: setup ## Run the tests, but for four that take minutes each
	$(PYTHON_BIN) -m pytest --numprocesses 2 --dist loadfile -m "not full"

test-full: setup ## Run every test
	$(PYTHON_BIN) -m pytest --numprocesses 2 --dist loadfile

coverage: setup ## Run every test, and tell the lines that none reaches
	$(PYTHON_BIN) -m coverage erase
	$(PYTHON_BIN) -m coverage run -m pytest --numprocesses 2 --dist loadfile
	$(PYTHON_BIN) -m coverage combine --quiet
	$(PYTHON_BIN) -m coverage report --show-missing --skip-covered --include "ulim_tf/*" --fail-under 90
	$(PYTHON_BIN) -m coverage report --show-missing --skip-covered --include "serving/*" --fail-under 90
	$(PYTHON_BIN) -m coverage report --show-missing --skip-covered --include "tfx_pipeline/*"

lint: setup ## Check the code's style and types
	$(PYTHON_BIN) -m ruff check
	$(PYTHON_BIN) -m mypy ulim_tf serving tfx_pipeline

bench: setup ## Measure quality, index, ingest, training and serving on a small scale (under 30 minutes on 2 cores)
	$(PYTHON_BIN) -m benchmarks

bench-full: setup ## The same at full size, for benchmarks/results (hours; see benchmarks/README.md)
	$(PYTHON_BIN) -m benchmarks --full

docs: setup ## Write the pages that are made from the code, and the tables of measured figures
	$(PYTHON_BIN) -m scripts.config_reference > docs/configuration.md
	$(PYTHON_BIN) -m scripts.results_tables README.md benchmarks/README.md
	$(PYTHON_BIN) -m scripts.api_reference > docs/api.md

lock: setup ## Bring constraints.txt up to setup.py, moving only the versions that must move
	$(PYTHON_BIN) -m uv pip compile setup.py --all-extras --no-annotate --quiet --output-file constraints.txt \
		--custom-compile-command "make lock (exact versions: set-up installs them, the tests run with them)"

clean: ## Remove .venv, the demo's files and every cache
	rm -rf .venv .demo .bench .coverage* .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
