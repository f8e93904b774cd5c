# Everything runs from .venv, which the first target that needs it makes. All it takes is
# Python 3.10 or newer, git and make; another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
ARGS ?=
BROWSER ?=
JOBS ?= 2

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
STAMPS := .venv/.stamps

# What is installed and imported is decided here, not by the caller's shell.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONWARNINGS JUPYTER_PATH MYPYPATH VIRTUAL_ENV
unexport PYTEST_DISABLE_PLUGIN_AUTOLOAD PYTEST_PLUGINS
unexport PIP_CONSTRAINT PIP_NO_DEPS PIP_PREFIX PIP_REQUIREMENT PIP_ROOT PIP_TARGET PIP_USER
demo test torture: export IPYTHONDIR = $(CURDIR)/.venv/ipython

.PHONY: help demo test torture lab lint bench constraints clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:  # one pip at a time in one .venv

help:
	@echo 'make demo         run the tutorial notebook and show what it does'
	@echo 'make test         lint, the tests, then the notebooks compared with their stored output'
	@echo '                  (BROWSER=no: without those in a browser; CHROMIUM=path: in this one;'
	@echo '                  JOBS=1: one test file at a time)'
	@echo 'make torture      end kernels and break workers in every way and state: five minutes, and 5 GB'
	@echo '                  of memory (ARGS=... passes options on)'
	@echo 'make lab          open JupyterLab on notebooks/ (ARGS=... passes options on)'
	@echo 'make lint         ruff and mypy'
	@echo 'make bench        measure against the peers (ARGS=... passes options on)'
	@echo 'make constraints  add what constraints.txt lacks (ARGS=--upgrade: all anew)'
	@echo 'make clean        remove .venv, caches and build products'

demo: $(STAMPS)/demo
	$(PY) notebooks/demo.py $(ARGS)

# `-` because without a Chromium the other tests run too; those in it then fail and say why.
test: lint $(STAMPS)/test
ifneq ($(BROWSER),no)
	-$(PY) tests/chromium.py
endif
	.venv/bin/pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder $(if $(filter no,$(BROWSER)),-m 'not browser')
	.venv/bin/pytest -q --nbval --nbval-current-env \
		--nbval-sanitize-with notebooks/sanitize.cfg --nbval-cell-timeout=60 notebooks

# What it measures goes to .artifacts/; tests/matrix.py takes that over into ARCHITECTURE.md.
torture: $(STAMPS)/test
	.venv/bin/pytest -q -m torture $(ARGS)

lint: $(STAMPS)/lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

lab: $(STAMPS)/lab
	.venv/bin/jupyter-lab --ip=127.0.0.1 --ServerApp.root_dir=notebooks $(ARGS)

bench: $(STAMPS)/bench
	$(PY) -m benchmarks $(ARGS)

# One stamp per extra, so that each target installs only what it needs.
$(STAMPS)/%: $(STAMPS)/venv pyproject.toml constraints.txt
	$(PIP) install --no-build-isolation --editable '.[$*]' --constraint constraints.txt
	@touch $@

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo >&2 'Python 3.10 or newer is needed; name one with: make PYTHON=/path/to/python3'; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo >&2 '$(PYTHON) cannot make a virtual environment: it has no ensurepip or venv.'; \
		echo >&2 'On Debian and Ubuntu: apt install python3-venv. Or: make PYTHON=/path/to/python3'; \
		exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(PIP) install setuptools --constraint constraints.txt
	@mkdir -p $(STAMPS)
	@touch $@

# Universal: one file for every Python from 3.10 on, with markers where the versions differ.
# What is pinned stays so, unless ARGS asks for `--upgrade` or `--upgrade-package NAME`.
constraints: $(STAMPS)/venv
	$(PIP) install --upgrade uv
	cp constraints.txt .venv/resolved
	.venv/bin/uv pip compile --quiet --universal --python-version 3.10 --all-extras \
		--no-header --no-annotate $(ARGS) --output-file .venv/resolved pyproject.toml
	{ sed -n '/^#/p' constraints.txt; cat .venv/resolved; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv .artifacts build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .git -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) \
		-type d -prune -exec rm -rf {} +
