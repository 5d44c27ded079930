# make demo    set up .venv and run the main job on the demo model: convert, verify, classify
# make test    set up .venv and run all tests
# make models  every model of up to 100 M parameters: convert, verify, classify; for a nightly run
# make toolchains  Swift and Kotlin compilers for the tests of the apps' cores (620 MB from Debian's archive and npm; no root)
# make lint    ruff and mypy
# Every target reuses .venv; `make clean` removes it and everything made.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUNDLE := artifacts/mobileclip-demo
EXAMPLES := build/examples
# One worker a core, each computing in one thread. Files run where they begin, so that their tests share what is converted;
# a worker that is done takes over half of what another has left.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal
LABELS := a red circle,a blue star,a green heart,a yellow moon,a purple square,an orange ring

.PHONY: demo test test-fast models toolchains lint clean

demo: $(VENV)/.demo
	$(BIN)/edgeclip convert --target coreml --target executorch --out $(BUNDLE) --force
	$(BIN)/edgeclip verify $(BUNDLE)
	$(BIN)/python scripts/draw_examples.py $(EXAMPLES)
	$(BIN)/edgeclip classify $(BUNDLE) $(EXAMPLES)/*.png --labels "$(LABELS)"
	@echo
	@echo "The bundle is in $(BUNDLE)"

test: $(VENV)/.dev
	$(PYTEST)

test-fast: $(VENV)/.dev
	$(PYTEST) -m "not slow"

models: $(VENV)/.dev
	$(BIN)/python benchmarks/models.py --max-millions 100 --fresh --jobs 2

toolchains: toolchain-swift toolchain-kotlin

toolchain-%: $(VENV)/.dev
	$(BIN)/python scripts/setup_$*.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 10) <= sys.version_info[:2] <= (3, 13) else "edgeclip needs Python 3.10 to 3.13; set PYTHON=python3.12 or so")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[photos]"
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[coreai,dev]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) artifacts build dist *.egg-info
