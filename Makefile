# `make run` and `make test` are all a fresh machine needs: Python 3.11+, git and make.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# A file's tests share what they train: they go to one process.
TEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run venv test quick check format screenshots constraints hashes verify-hashes audit clean

run: venv
	@if [ -t 0 ] && [ -t 1 ]; then $(BIN)/traindeck; else $(BIN)/traindeck run torch-digits --wait; fi

venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed (make PYTHON=…)"; exit 4; }
	@echo "setting up .venv (PyTorch and TensorFlow: 4 GB; pip is silent for minutes at its end)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --constraint constraints.txt --editable '.[torch,tensorflow,syft,deploy,sweep,web,pictures,notices,dev]'
	@touch $@

test: venv
	$(TEST)

quick: venv
	$(TEST) -m "not framework and not slow"

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

screenshots: venv
	$(BIN)/python screenshots/make.py

constraints: venv
	@(sed -n 1p constraints.txt; $(PIP) freeze --exclude-editable | sed 's/+cpu$$//') > .venv/frozen
	@mv .venv/frozen constraints.txt

hashes: venv
	@$(BIN)/python .ci/supply.py hashes

verify-hashes: venv
	@$(BIN)/python .ci/supply.py verify

audit: venv
	@$(BIN)/python .ci/supply.py audit

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
