# Targets; `make` alone lists them.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

# Where `make install` puts the command.
BIN_DIR ?= $(HOME)/.local/bin

SAM_VERSION := 1.170.0
SAM_PORT ?= 3000
SAM ?= $(firstword $(shell command -v sam 2>/dev/null) .venv-sam/bin/sam)

# Folders that `make test` runs; all if empty.
TESTS ?=

# Names of the mutants that `make mutants` tries; all if empty.
MUTANTS ?=

# A virtual environment takes nothing from these.
unexport PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: help run install test test-browser test-stack emulator check format openapi build sam-local sbom audit proof mutants bench lock clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22
	@echo; echo 'Variables of make run:'
	@sed -n '/^HOST  /,/^AWS_/s/^/  /p' ops/sessions_local/settings.py

run: $(VENV)/run ## Serve the API on this machine, without AWS, until Ctrl-C
	@exec $(BIN)/python -m sessions_local

install: $(VENV)/run ## Put the command `sessions` into ~/.local/bin (BIN_DIR chooses another folder)
	@mkdir -p "$(BIN_DIR)" && ln -sf "$(abspath $(BIN)/sessions)" "$(BIN_DIR)/sessions"
	@"$(BIN_DIR)/sessions" --version
	@case ":$$PATH:" in *:"$(BIN_DIR)":*) ;; *) echo "Add $(BIN_DIR) to PATH: it is not there yet." ;; esac

test: $(VENV)/dev ## Run the tests (TESTS=tests/list runs some)
	$(BIN)/python -m pytest -n auto --dist loadfile $(TESTS)

test-browser: $(VENV)/browser ## Run the tests in Chromium (Debian's package); screenshots go to build/screenshots
	$(BIN)/python -m pytest tests/browser

test-stack: $(VENV)/dev .venv-stack/ready build ## Deploy the template onto an AWS emulator and test it there (needs Python 3.13)
	SAM="$(SAM)" $(BIN)/python -m pytest tests/stack

emulator: $(VENV)/dev .venv-stack/ready build ## Run that emulator on port 4566 until Ctrl-C, to try a deployment without an account
	$(BIN)/python -m tests.stack.emulator

check: $(VENV)/dev ## Formatting, lint, imports, types, template, OpenAPI; never writes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy
	for app in functions/*/app.py; do $(BIN)/mypy $$app || exit 1; done
	$(BIN)/cfn-lint template.yaml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github
	$(BIN)/python -m sessions_local.openapi_document | diff docs/openapi.json - \
	  || { echo 'docs/openapi.json is not current; `make openapi` writes it.' >&2; exit 1; }

format: $(VENV)/dev ## Format the code and repair what lint can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: $(VENV)/run ## Write docs/openapi.json from the contract
	$(BIN)/python -m sessions_local.openapi_document > docs/openapi.json

build: $(filter .venv-sam/bin/sam,$(SAM)) ## Build what `sam deploy` ships (needs Python 3.13)
	$(SAM) build

sam-local: build ## Serve the API in Lambda's own image (Docker; HOST=0.0.0.0 make run beside it; SAM_PORT, SAM_FLAGS)
	$(SAM) local start-api --port $(SAM_PORT) $(SAM_FLAGS)

sbom: .venv-audit ## List what ships to Lambda, with licences, in build/sbom
	$(PYTHON) -m venv --clear --without-pip build/shipped
	.venv-audit/bin/pip --python build/shipped/bin/python install --quiet --disable-pip-version-check \
	  --require-hashes -r layers/dependencies/requirements.txt
	@mkdir -p build/sbom
	.venv-audit/bin/cyclonedx-py environment --gather-license-texts --output-reproducible \
	  --output-file build/sbom/sessions.cdx.json build/shipped/bin/python
	.venv-audit/bin/pip-licenses --python build/shipped/bin/python \
	  --format markdown --with-urls --output-file build/sbom/licences.md

audit: .venv-audit ## Look for known vulnerabilities in what is locked (asks PyPI)
	for lock in layers/dependencies/requirements.txt requirements-dev.txt; do \
	  .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement $$lock || exit 1; done

bench: $(VENV)/dev build ## Measure, and write the figures into docs (needs Node, Python 3.13 and 6 GB of memory)
	$(BIN)/python -m tests.benchmarks.speed
	$(BIN)/python -m tests.benchmarks.counting
	$(BIN)/python -m tests.benchmarks.paging
	$(BIN)/python -m tests.benchmarks.simulation

proof: $(VENV)/dev ## Faults, hostile input, load and kills at full size (needs Node; docs/proof.md says how long)
	HYPOTHESIS_PROFILE=proof $(BIN)/python -m pytest -o faulthandler_timeout=1800 -m 'long or not long' tests/proof tests/counting/test_model.py

mutants: $(VENV)/dev ## Change the code in small ways and see that a test notices (half an hour; MUTANTS='sessions.histograms*' for some)
	rm -rf build/mutants && mkdir -p build/mutants/src
	cp -R docs events functions layers ops tests pyproject.toml template.yaml build/mutants
	cp -R layers/sessions build/mutants/src
	cd build/mutants && HYPOTHESIS_PROFILE=mutants "$(abspath $(BIN))/mutmut" run $(MUTANTS)

lock: $(VENV)/dev ## Lock the newest versions that fit
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.13 \
	  layers/dependencies/requirements.in -o layers/dependencies/requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	  -c layers/dependencies/requirements.txt --extra ops pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	  -c requirements.txt --extra ops --extra dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --universal --python-version 3.11 \
	  -c requirements-dev.txt tests/browser/requirements.in -o tests/browser/requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.13 \
	  tests/stack/requirements.in -o tests/stack/requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.13 \
	  -c requirements.txt tests/benchmarks/requirements.in -o tests/benchmarks/requirements.txt

clean: ## Remove everything that was built or installed
	rm -rf $(VENV) .venv-sam .venv-stack .venv-audit .aws-sam build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The SAM CLI pins a botocore of its own, so it lives apart.
.venv-sam/bin/sam:
	$(PYTHON) -m venv .venv-sam
	.venv-sam/bin/pip install --quiet --disable-pip-version-check aws-sam-cli==$(SAM_VERSION)

# The emulator pins a botocore of its own too, and runs the functions in its own Python.
.venv-stack/ready: tests/stack/requirements.txt
	python=$$($(PYTHON) -c 'from layers.build import runtime_python; print(runtime_python() or "python3.13")') && \
	  "$$python" -m venv .venv-stack
	.venv-stack/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/stack/requirements.txt
	@touch $@

# Tools of releases, in one version each and apart from what is locked: they ship nothing and test nothing.
.venv-audit:
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0 pip-audit==2.10.1 pip-licenses==5.5.5

$(VENV)/run: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; PYTHON=... chooses one") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.txt tests/identity/newest_client.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --upgrade \
	  --target $(VENV)/newest-client -r tests/identity/newest_client.txt
	@touch $@

$(VENV)/browser: $(VENV)/dev tests/browser/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/browser/requirements.txt
	@touch $@
