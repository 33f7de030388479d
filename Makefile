SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev chromium debian-torch check lint test test-fast soak bench bundle screenshots docs clean

PORT ?= 8501
HOST ?= 127.0.0.1
export PYTHON ?= python3
python := .venv/bin/python
# More than cores: tests often wait for processes that they start.
WORKERS ?= 3
# The tests of a module share what they make, so a module runs in one process.
side_by_side = $(python) -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup  ## Serve the pages on PORT (8501) of HOST (127.0.0.1)
	@$(python) -m scripts.serve "$(PORT)" --host "$(HOST)"

setup:  ## Make .venv with the pinned requirements, once
	@scripts/setup

setup-dev:
	@scripts/setup dev

chromium:
	@scripts/debian-package chromium /usr/bin/chromium

debian-torch:
	@scripts/debian-package python3-torch /usr/lib/python3/dist-packages/torch/__init__.py

lint: setup-dev
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	.venv/bin/lint-imports --no-logo

check: lint  ## Lint, formatting, types, layering
	$(python) -m pytest -q tests/project/test_layering.py -m "not browser"

test: chromium debian-torch lint  ## Every check and test (about half an hour on two cores)
	$(side_by_side) -m "not soak and not timed"
	$(python) -m pytest -m "timed and not soak"

test-fast: setup-dev  ## What neither converts, nor times, nor opens a browser (2 minutes)
	$(side_by_side) -m "not soak and not timed and not slow and not browser"

soak: setup-dev chromium  ## The long tests: many repetitions, many faults
	$(python) -m pytest -m soak

bench: setup-dev chromium  ## Print the figures, each beside what it is held against
	$(python) -m benchmarks

bundle: setup-dev  ## Make the bundled images and checkpoints again (hours); goes on where it stopped
	@scripts/debian-package dataset-fashion-mnist /usr/share/datasets/fashion-mnist
	$(python) -m bundled.make

screenshots: setup-dev chromium  ## Photograph the pages into docs/screenshots
	$(python) -m scripts.screenshots

docs: setup-dev  ## Write docs/schema.json, the model catalogue and the fingerprints again
	$(python) -m quantcore.models.catalogue
	$(python) -m quantcore.untrusted.fingerprints
	$(python) -m scripts.schema

clean:  ## Remove .venv and what checks and tests left behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +
