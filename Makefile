PYTHON ?= python3
BIN := .venv/bin

# Everything a fresh machine needs: an environment, the locked dependencies, the package itself.
.venv/installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --upgrade pip hatchling editables
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[dev]"
	touch $@
