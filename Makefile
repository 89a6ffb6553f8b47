# SPDX-License-Identifier: Apache-2.0
# The commands of a checkout. What `setup` installs, apart from Debian packages, stays
# in .venv and .cache of this directory.

PYTHON := .venv/bin/python
ARGS ?=
RELEASE ?= trixie

.DEFAULT_GOAL := help
.PHONY: help setup demo check test test-release fuzz corpus lint man api pictures docs bench guest deb test-service \
	release-check clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 21
	@echo "  ARGS passes options on: make test ARGS='-x tests/rig'"
	@echo "  make test ARGS=--stressed: all tests on a busy machine"

setup: ## install the missing Debian packages, .venv and the package
	@bash scripts/setup.sh

demo: setup ## real guests request frequencies, live in your terminal; about a minute
	@$(PYTHON) -m examples.demo $(ARGS)

# Property tests draw a tenth of their examples (tests/properties.py).
check: setup ## linters and pure tests, in under a minute
	@$(PYTHON) -m pytest -q -m "not slow and not rig" --hypothesis-profile fast \
		-n auto --maxprocesses 4 $(ARGS)

# Linters come first (tests/conftest.py), and tests with guests run beside all others.
# Coverage is measured when all tests run: a part of them covers a part of the code.
test: setup ## all tests: also real libvirt, QEMU and DPDK guests; half an hour or more
	@$(PYTHON) -m scripts.run_tests $(ARGS)

test-release: ## all tests under another Debian release: RELEASE=trixie; needs root
	@bash scripts/release.sh $(RELEASE) test

# Tests that are marked fuzz: two hundred times the examples, and the sweeps whole.
fuzz: setup ## hostile inputs by the million, faults at every system call; an hour
	@$(PYTHON) -m pytest -q -m fuzz --hypothesis-profile fuzz -o timeout=0 \
		-n auto --maxprocesses 4 $(ARGS)

# For example libvirt's own test data: apt-get source libvirt; make corpus DIR=libvirt-9.0.0/tests
DIR ?=
corpus: setup ## try every domain XML below a directory: make corpus DIR=/srv/xml
	@$(PYTHON) -m scripts.corpus $(or $(DIR),$(error use: make corpus DIR=DIRECTORY)) $(ARGS)

lint: setup ## ruff, mypy, import-linter, codespell and vermin
	@$(PYTHON) -m pytest -q tests/test_linters.py

man: setup ## generate docs/man and examples/vmpower.toml from the code
	@$(PYTHON) -m scripts.manual docs/man
	@$(PYTHON) -m scripts.manual.commented examples/vmpower.toml

api: setup ## generate the client's side of the API and docs/api.md, docs/json.md
	@$(PYTHON) -m scripts.api

pictures: setup ## draw docs/top.svg and docs/status.svg again; a minute
	@$(PYTHON) -m scripts.pictures docs

docs: setup ## build the documentation as a site in dist/docs
	@$(PYTHON) -m scripts.site

bench: setup ## compare vmpowerd with a minimal loop in C
	@$(PYTHON) -m bench $(ARGS)

guest: setup ## build dist/vmpower-guest.pyz, one file to copy into a VM
	@$(PYTHON) scripts/build_guest.py $(ARGS)

deb: ## build dist/*.deb for the release that this machine runs
	@bash scripts/deb.sh

test-service: setup ## install the packages in booted Debian 12 and 13; needs root
	@VMPOWER_SERVICE=all $(PYTHON) -m pytest -q tests/packaging $(ARGS)

release-check: setup ## what RELEASE.md demands of a checkout before a release
	@$(PYTHON) -m scripts.release_check

clean: ## remove everything that was installed or cached in this directory
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
