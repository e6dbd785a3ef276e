# Every command is written once, here; .ci/run and the workflows call these verbs. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Notebooks of one chapter stay on one worker, in order; unit and site tests fill the gaps.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 300

.DEFAULT_GOAL := help
.PHONY: help book test test-unit test-book test-site execute matrix bench bench-sst2 lint format lock address version release pretrain teach links newest oldest clean

help: ## list the verbs
	@grep -E '^[a-z0-9-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# A fresh machine needs Python 3.11 or newer and make; the rest is installed here, at the locked versions.
$(VENV)/installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmguide needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --upgrade pip hatchling editables setuptools
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[dev]"
	@touch $@

book: $(VENV)/installed ## build the site into _build/html, warnings as errors
	@rm -rf _build # an incremental build does not repeat the warnings of the one before
	$(BIN)/jupyter-book build . -W -n --keep-going
	@echo "The book is built. Open $(CURDIR)/_build/html/book/index.html"

test: $(VENV)/installed ## unit tests, every chapter re-run and compared, the site in a browser
	$(PYTEST) $(NBVAL) book tests

test-unit: $(VENV)/installed ## the package alone
	$(PYTEST) tests/unit

test-book: $(VENV)/installed ## the notebooks alone
	$(PYTEST) $(NBVAL) book tests/book

test-site: $(VENV)/installed ## the built site alone
	$(PYTEST) tests/site

execute: $(VENV)/installed ## re-run chapters and save their outputs (CHAPTERS="slug ..." for some of them)
	$(BIN)/python -m tests.book.execute $(CHAPTERS)

matrix: $(VENV)/installed ## compare the chapters with 1 and 2 threads and three vector widths
	$(BIN)/python -m tests.book.matrix

bench: $(VENV)/installed ## our speed beside torch's and transformers', in one run
	$(BIN)/python -m tests.benchmarks

bench-sst2: $(VENV)/installed ## what fine-tuning buys on SST-2, and what it costs (DATA=folder of train.tsv and dev.tsv)
	LLMGUIDE_THREADS=1 $(BIN)/python -m tests.benchmarks.sst2 --data $(DATA)

lint: $(VENV)/installed ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed ## put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/installed ## resolve the newest allowed versions into constraints.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-emit-package llmguide \
		--no-annotate --no-header --upgrade pyproject.toml --output-file constraints.txt

address: $(VENV)/installed ## move the repository: make address URL=https://github.com/owner/name
	$(BIN)/python -m tests.repository.address $(URL)

version: $(VENV)/installed ## name the next release: make version NUMBER=1.2.3
	$(BIN)/python -m tests.repository.version $(NUMBER)

release: book ## what a release carries, into dist/: wheel, source, the site and the notebooks as archives, checksums
	@rm -rf dist
	$(BIN)/python -m build --no-isolation
	cd _build && ../$(BIN)/python -m zipfile --create ../dist/llmguide-html.zip html
	git archive --format=zip --output=dist/llmguide-notebooks.zip HEAD book LICENSE LICENSE-text README.md
	cd dist && sha256sum * > SHA256SUMS

pretrain: $(VENV)/installed ## train the storyteller anew, two hours on two cores (it is shipped trained)
	LLMGUIDE_THREADS=2 $(BIN)/python -m llmguide.storyteller llmguide/weights/storyteller

teach: $(VENV)/installed ## teach the storyteller to talk anew, after pretrain (it is shipped taught)
	LLMGUIDE_THREADS=2 $(BIN)/python -m llmguide.dialogue llmguide/weights/chat

links: $(VENV)/installed ## ask every linked site whether the page is still there
	$(BIN)/jupyter-book build . --builder linkcheck

# The ends of the allowed ranges, each in an environment of its own. Outputs are compared at the locked versions only:
# another matplotlib draws other pixels.
newest: $(VENV)/installed ## unit tests with the newest allowed dependencies
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .venv-newest
	$(BIN)/uv pip install --quiet --python .venv-newest --no-config --upgrade --editable ".[dev]"
	.venv-newest/bin/pytest -n 2 tests/unit

oldest: $(VENV)/installed ## unit tests with the oldest allowed dependencies
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .venv-oldest
	$(BIN)/uv pip install --quiet --python .venv-oldest --no-config --resolution lowest-direct --editable ".[dev]"
	.venv-oldest/bin/pytest -n 2 tests/unit

clean: ## remove what was built, keep the environment
	rm -rf _build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
