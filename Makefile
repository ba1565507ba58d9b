# Driftgate's commands. `make help` lists them; `make setup` is what all others rest on.
# Needs only Python 3.11 and make. Variables of the environment pass through (pip's, uv's, DRIFTGATE_*).

PYTHON ?= python3.11
VENV := .venv
UV := $(VENV)/bin/uv
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | head -n 1)
LOCK := $(if $(GPU),locks/cuda.txt,locks/cpu.txt)

# uv does not read pip's configuration: a folder of wheels that pip knows of is handed on. Without
# one, the CPU build of torch comes from the PyTorch project's own index.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
TORCH := $(if $(GPU)$(UV_FIND_LINKS),,--torch-backend=cpu)

STAMP := $(VENV)/.driftgate-$(shell cat pyproject.toml Makefile locks/uv.txt $(LOCK) | cksum | cut -d ' ' -f 1)
# Tests run side by side, with a core each; then those with a real vLLM, two at a time; then, one after
# the other, those that inject faults and measure time. What failed is asked once more, alone: a deadline
# may have been missed for want of a core. What is wrong fails again.
BESIDE := OMP_NUM_THREADS=1 $(VENV)/bin/pytest --dist loadfile --no-loadscope-reorder
AGAIN := $(VENV)/bin/pytest --last-failed --last-failed-no-failures none
FAST := not engine and not services and not browser and not train and not chaos and not slow

.DEFAULT_GOAL := help
.PHONY: help setup compile serve test check bench bench-retrieval chaos load demo-retrieval demo-loop format services lock reference clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup: $(STAMP) ## Build .venv with everything, from the lock file

$(STAMP):
	@echo "Setting up $(VENV) from $(LOCK) …"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
	@$(UV) pip install --python $(VENV)/bin/python --no-deps --require-hashes $(TORCH) -r $(LOCK)
	@$(UV) pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.driftgate-* && touch $(STAMP)

compile: setup ## Build the hot path as machine code, where there is a C compiler
	@$(VENV)/bin/python scripts/compile.py

serve: compile ## Set up what is missing and serve on port 8080
	@exec $(VENV)/bin/driftgate serve

test: compile services ## Run every test: real vLLM, PostgreSQL, Redis, Prometheus, faults
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/driftgate models pull all-minilm-l6-v2
	$(VENV)/bin/driftgate models pull smollm2-135m-instruct
	$(BESIDE) -n logical -m "not (engine or chaos)" || $(AGAIN)
	$(BESIDE) -n 2 -m engine || $(AGAIN)
	$(VENV)/bin/pytest -m "chaos and not engine" || $(AGAIN)

check: setup ## Format, lint, types, import contracts, fast tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/pytest -m "$(FAST)"

bench: compile services ## Measure the hop beside other gateways, into loadtests/results (25 min)
	$(VENV)/bin/python -m loadtests.bench $(BENCH)

bench-retrieval: setup ## Measure search, freshness and quality, into loadtests/results (40 min)
	$(VENV)/bin/python -m loadtests.retrieval $(BENCH)

load: compile ## Try the SLA of loadtests/sla.yaml against `make serve`: verdict and report
	@$(VENV)/bin/python -m loadtests.sla --serve $(LOAD)

demo-retrieval: compile ## Ask SmolLM2 with documents: cited answers, and a fact that changes
	@$(VENV)/bin/python -m examples.documents $(DEMO)

demo-loop: compile ## Watch the loop close by itself: drift, retraining, rollout, told as one page
	@$(VENV)/bin/python -u -m examples.loop $(DEMO)

chaos: compile services ## Inject faults and print the scorecard, into loadtests/results
	$(VENV)/bin/python -m loadtests.chaos $(CHAOS)

format: setup ## Format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

services: ## Install the services that tests need, where it may
	@scripts/install-services.sh

reference: setup ## Write the tables of settings and commands into README.md
	$(VENV)/bin/python scripts/reference.py --write

COMPILE = $(UV) pip compile pyproject.toml --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--generate-hashes --no-emit-find-links --quiet --no-annotate --custom-compile-command "make lock"
EVERYTHING := --extra training --extra retrieval --extra monitoring --extra dev

lock: setup ## Resolve the dependencies again and write locks/
	$(UV) pip compile locks/uv.in --generate-hashes --quiet --no-annotate \
		--custom-compile-command "make lock" -o locks/uv.txt >/dev/null
	$(COMPILE) -o locks/gateway.txt >/dev/null
	$(COMPILE) $(if $(UV_FIND_LINKS),,--torch-backend=cpu) --extra engine-cpu $(EVERYTHING) \
		--override locks/overrides.txt -o locks/cpu.txt >/dev/null
	env -u UV_FIND_LINKS $(COMPILE) --extra engine-gpu $(EVERYTHING) \
		--override locks/overrides-cuda.txt -o locks/cuda.txt >/dev/null

clean: ## Remove .venv and caches; .driftgate with models and data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
