# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every target sets up what it needs: system packages (after listing them), a virtual environment, the lab's image.
PYTHON := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Python compiles what it imports once for all targets, also where the environment forbids it.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/compiled
export ANSIBLE_COLLECTIONS_PATH = $(CURDIR)/.cache/collections:$(shell tools/site-packages)

# make bench BENCHES="data sessions": only these.
BENCHES :=
# make bench FULL=1: with other tools measured again, too.
FULL :=
# make bench RESUME=1: without what was measured today, after a run that was interrupted.
RESUME :=
# make docs LINKS=1: with a check of every link, on other sites, too.
LINKS :=
STAGES := lint sanity unit house integration lab lan_client molecule

.PHONY: help setup demo test neighbours vm test-faults bare bench bench-quick bench-smoke $(STAGES) build docs release down clean
.DEFAULT_GOAL := help

help:  ## show this list
	@sed -n 's/^\([a-z $$()A-Z-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | sed 's/$$(STAGES)/one stage/' | expand -t 12
	@echo "stages of make test: $(STAGES)"

setup:
	@tools/setup

demo: setup  ## start a lab, apply our role to its gateway, and show who saw whom
	@$(PYTHON) tools/demo.py

test: setup  ## run all stages of tests
	@$(PYTHON) tools/test.py $(STAGES)

neighbours: setup  ## test beside docker, firewalld, ufw, libvirt and others, and iptables-legacy; not part of make test
	@$(PYTHON) tools/test.py neighbours

vm: setup  ## test in a virtual machine (qemu) what needs a separate kernel; not part of make test
	@tools/setup vm
	@$(PYTHON) tools/test.py vm

test-faults: setup  ## try every fault at every step of a change; writes the table in docs/reliability.md
	@$(PYTHON) tools/faults.py

bench: setup  ## measure the cost against other tools; writes the figures in docs/performance.md (90 minutes)
	@benchmarks/setup
	@$(PYTHON) -m benchmarks $(if $(FULL),--all) $(if $(RESUME),--resume) $(BENCHES)

bench-smoke: setup  ## walk through everything that make bench does with the least of each (10 minutes); writes nothing
	@benchmarks/setup
	@$(PYTHON) -m benchmarks --smoke $(BENCHES)

bench-quick: setup  ## compare the key ratios with their budgets, in under 3 minutes; fails if one is exceeded or not measured
	@benchmarks/setup
	@$(PYTHON) -m benchmarks --quick $(BENCHES)

$(STAGES): setup  ## run one stage of make test
	@$(PYTHON) tools/test.py $@

bare: setup  ## run the first test of every stage on bare Debian 12 and 13 systems; not part of make test
	@$(PYTHON) tools/test.py bare

build: setup  ## build the collection as a tarball, in .cache/dist
	@ansible-galaxy collection build --force --output-path .cache/dist

docs: setup  ## build the site, with reference and guides, in .cache/docs/site/html
	@$(PYTHON) tools/docs.py $(if $(LINKS),--links)

release: setup  ## make a release (changelog, commit, tag, tarball): make release VERSION=1.0.0
	@tools/release "$(VERSION)"

down:  ## remove the demo's lab, and anything that tests left behind
	@if [ -x $(PYTHON) ]; then $(PYTHON) tools/demo.py --down; else echo "nothing to remove"; fi

clean: down  ## make down, and remove the images of labs, the virtual environment and caches
	@if command -v podman >/dev/null; then roles/lab/files/lab-image prune; fi
	rm -rf .venv .cache
