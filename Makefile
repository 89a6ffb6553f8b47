# What a person types here. Everything that `setup` installs outside of Debian's
# packages stays in .venv and .cache of this directory.

PYTHON := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint man api bench guest clean

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
	@echo "  Options go through ARGS, as in: make test ARGS='-x tests/rig'"

setup: ## install the missing Debian packages, .venv and the package
	@bash scripts/setup.sh

demo: setup ## guests that ask for clocks, and the daemon that obeys, live
	@$(PYTHON) -m examples.demo $(ARGS)

# Linters come first, guests last (tests/conftest.py).
test: setup ## every test: linters, pure ones, real libvirt, QEMU and DPDK guests
	@$(PYTHON) -m pytest $(ARGS)

lint: setup ## ruff, mypy, import-linter and codespell
	@$(PYTHON) -m pytest -q tests/test_linters.py

man: setup ## the manual pages in docs/man, from what the code says
	@$(PYTHON) -m scripts.manual docs/man

api: setup ## the client's side of the control API, from the server's models and calls
	@$(PYTHON) -m scripts.api

bench: setup ## vmpowerd beside the least possible work in C
	@$(PYTHON) -m bench $(ARGS)

guest: setup ## dist/vmpower-guest.pyz: one file to copy into a VM
	@$(PYTHON) scripts/build_guest.py $(ARGS)

clean: ## remove what was installed and cached in this directory
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
