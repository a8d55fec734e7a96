# The words of this project; `make` alone lists them.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: help run test check format openapi build bench lock clean
.DEFAULT_GOAL := help

help: ## List the words
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

run: $(VENV)/run ## Serve the API on this machine, without AWS (PORT, DYNAMODB_PORT, DATA)
	@exec $(BIN)/python -m ops.local.server

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

openapi: $(VENV)/run ## Write docs/openapi.json from the models
	$(BIN)/python -m ops.openapi

lock: $(VENV)/dev ## Lock the newest versions that fit (needs uv)
	uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.13 \
	  layers/dependencies/requirements.in -o layers/dependencies/requirements.txt
	uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	  -c layers/dependencies/requirements.txt --extra ops pyproject.toml -o requirements.txt
	uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	  -c requirements.txt --extra ops --extra dev pyproject.toml -o requirements-dev.txt

clean: ## Remove what the other words made
	rm -rf $(VENV) .aws-sam build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/run: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; PYTHON=... chooses one") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
