PYTHON_BIN := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint docs lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

setup: ## Make .venv from constraints.txt (once; later calls return at once)
	@bash scripts/setup.sh

demo: setup ## From a public event log to served recommendations (DEMO_USERS=n: that many users)
	$(PYTHON_BIN) -m examples.demo

test: setup ## Run every test
	$(PYTHON_BIN) -m pytest --numprocesses 2 --dist loadfile

lint: setup ## Check the code's style and types
	$(PYTHON_BIN) -m ruff check
	$(PYTHON_BIN) -m mypy ulim_tf serving tfx_pipeline

docs: setup ## Write the pages that are made from the code
	$(PYTHON_BIN) -m scripts.config_reference > docs/configuration.md
	$(PYTHON_BIN) -m scripts.api_reference > docs/api.md

lock: setup ## Bring constraints.txt up to setup.py, moving only the versions that must move
	$(PYTHON_BIN) -m uv pip compile setup.py --all-extras --no-annotate --quiet --output-file constraints.txt \
		--custom-compile-command "make lock (exact versions: set-up installs them, the tests run with them)"

clean: ## Remove .venv, the demo's files and every cache
	rm -rf .venv .demo .bench .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
