# Two commands are enough on a fresh machine with Python >= 3.11:
#   make demo     a whole search on the events that ship with resonaut (SIGNAL=0: the same without the resonance)
#   make test     every check and test
# Everything else is for those who work on resonaut.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SIGNAL ?= 1
PYTEST_ARGS ?=
INSTALLED := $(VENV)/.installed

.PHONY: demo test check lint tree types layers packages unit doctest wheel docs bench clean help

help:
	@sed -n '2,3s/^#   //p' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "resonaut needs Python >= 3.11, $(PYTHON) is $$($(PYTHON) --version); try: make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --no-binary=nflows --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

# Index of other builds of torch, for instance https://download.pytorch.org/whl/cpu for one without CUDA.
TORCH_INDEX ?=

demo: $(INSTALLED)
	$(BIN)/resonaut demo --signal $(SIGNAL)

test: check doctest unit

check: lint types layers packages wheel

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy and import-linter read the folders as they are installed: a tree of links shows them the mapping of pyproject.toml.
tree: $(INSTALLED)
	rm -rf build/tree && mkdir -p build/tree/resonaut
	ln -s $(CURDIR)/analysis/_root/*.py $(CURDIR)/analysis/_root/py.typed build/tree/resonaut/
	for room in stats models processors analysis; do ln -s $(CURDIR)/$$room build/tree/resonaut/$$room; done

types: tree
	cd build/tree && MYPYPATH=. $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p resonaut

layers: tree
	cd build/tree && PYTHONPATH=. $(CURDIR)/$(BIN)/lint-imports --config $(CURDIR)/pyproject.toml --no-cache

packages: $(INSTALLED)
	$(BIN)/python -m pytest -q tests/test_packaging.py

unit: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS) tests

# In a process of its own: pytest imports a module a second time, by its file, to look for its examples.
doctest: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --doctest-modules analysis models processors stats

# The wheel holds the packages, the demo's events and the report's templates.
wheel: $(INSTALLED)
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --no-deps --target build/wheel/site build/wheel/*.whl
	cd build/wheel && PYTHONPATH=site $(CURDIR)/$(BIN)/python -c "import resonaut.analysis.cli, resonaut; assert 'site' in resonaut.__file__, resonaut.__file__; from resonaut.analysis.demo import demo_config; config, base = demo_config(signal=True); print(len(config.resolved_files(base)), 'demo files in the wheel'); from importlib.resources import files; files('resonaut.analysis.reporting').joinpath('templates', 'page.html.j2').read_text()"

# The site of the documentation, in build/site: it needs no network to be read. A page that points nowhere is an error.
docs: tree
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(INSTALLED)
	for bench in benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

clean:
	rm -rf build dist runs *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
