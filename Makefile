# Everything a developer runs; each target makes its own .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.demo-ready

.PHONY: help demo test test-full check format bench clean

help:  ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(DEMO_READY)  ## Watch a rendered conveyor line being analyzed (20 s; needs no camera, broker or GPU)
	$(BIN)/edge-vision demo

test: $(READY)  ## Run the tests (about 20 minutes on two cores)
	$(BIN)/python -m pytest -m "not full" -n 2 --dist loadfile tests/architecture tests/contract tests/unit
	$(BIN)/python -m pytest -m "not full" tests/e2e tests/integration

test-full: $(READY)  ## Run the tests, the long and heavy ones too
	$(BIN)/python -m pytest

check: $(READY)  ## Lint, types, and the rule that imports point down
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(READY)  ## Measure the road, its stages, and the start, beside bare decoding and inference
	$(BIN)/python benchmarks/stage.py
	$(BIN)/python benchmarks/stages.py
	$(BIN)/python benchmarks/road.py --limit 1.25
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/tracker.py --limit 0.5
	$(BIN)/python benchmarks/outbox.py
	$(BIN)/python benchmarks/broker_away.py

clean:  ## Remove what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV):
	$(PYTHON) -m venv $(VENV)

# The demo needs far less than the tests: a stranger should not wait for a type checker.
$(DEMO_READY): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[cpu,openvino]'
	touch $@

$(READY): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(DEMO_READY)
