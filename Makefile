# The words of this project; `make` alone lists them.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

# Of the functions; `make build ARCHITECTURE=arm64` builds for the template's other one.
ARCHITECTURE ?= x86_64
SAM_VERSION := 1.170.0
SAM ?= $(firstword $(shell command -v sam 2>/dev/null) .venv-sam/bin/sam)

.PHONY: help run test check format openapi build bench lock clean
.DEFAULT_GOAL := help

help: ## List the words
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

run: $(VENV)/run ## Serve the API on this machine, without AWS (PORT, DYNAMODB_PORT, DATA)
	@exec $(BIN)/python -m ops.local

test: $(VENV)/dev ## Run the tests
	$(BIN)/python -m pytest

check: $(VENV)/dev ## Formatting, lint, types, template, OpenAPI; never writes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	for app in functions/*/app.py; do $(BIN)/mypy $$app || exit 1; done
	$(BIN)/cfn-lint template.yaml
	$(BIN)/python -m ops.openapi --check

format: $(VENV)/dev ## Format the code and repair what lint can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: $(VENV)/run ## Write docs/openapi.json from the contract
	$(BIN)/python -m ops.openapi

build: $(filter .venv-sam/bin/sam,$(SAM)) ## Build what `sam deploy` ships (needs Python 3.13; ARCHITECTURE)
	ARCHITECTURE=$(ARCHITECTURE) $(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE)

bench: $(VENV)/dev build ## Measure, and write the figures into docs (needs Node, Python 3.13 and 10 GB of memory)
	$(BIN)/python -m tests.benchmarks.speed
	$(BIN)/python -m tests.benchmarks.counting
	$(BIN)/python -m tests.benchmarks.paging
	$(BIN)/python -m tests.benchmarks.ten_million
	$(BIN)/python -m tests.benchmarks.simulation

lock: $(VENV)/dev ## Lock the newest versions that fit
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.13 \
	  layers/dependencies/requirements.in -o layers/dependencies/requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	  -c layers/dependencies/requirements.txt --extra ops pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	  -c requirements.txt --extra ops --extra dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.13 \
	  -c requirements.txt tests/benchmarks/requirements.in -o tests/benchmarks/requirements.txt

clean: ## Remove what the other words made
	rm -rf $(VENV) .venv-sam .aws-sam build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The SAM CLI pins a botocore of its own, so it lives apart.
.venv-sam/bin/sam:
	$(PYTHON) -m venv .venv-sam
	.venv-sam/bin/pip install --quiet --disable-pip-version-check aws-sam-cli==$(SAM_VERSION)

$(VENV)/run: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; PYTHON=... chooses one") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
