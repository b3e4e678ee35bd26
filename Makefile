# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every target sets up what it needs: system packages (after saying which), a virtual environment, the lab's image.
PYTHON := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH = $(CURDIR)/.cache/collections:$(shell tools/site-packages)

# make bench BENCHES="data sessions": only these.
BENCHES :=
STAGES := lint sanity unit house integration lab molecule

.PHONY: help setup demo test neighbours vm test-faults bare bench bench-quick $(STAGES) build docs release down clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z $$()A-Z-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | sed 's/$$(STAGES)/one stage/' | expand -t 12
	@echo "stages of make test: $(STAGES)"

setup:
	@tools/setup

demo: setup  ## a lab, our role on its gateway, and a picture of who saw whom
	@$(PYTHON) tools/demo.py

test: setup  ## everything we prove, all stages
	@$(PYTHON) tools/test.py $(STAGES)

neighbours: setup  ## beside docker, firewalld, ufw, libvirt and others, and iptables-legacy; not part of make test
	@$(PYTHON) tools/test.py neighbours

vm: setup  ## what only a kernel of its own can show, in a virtual machine (qemu); not part of make test
	@$(PYTHON) tools/test.py vm

test-faults: setup  ## every fault at every step of a change; writes the table of docs/reliability.md
	@$(PYTHON) tools/faults.py

bench: setup  ## what it costs beside what others cost; writes the figures of docs/performance.md (hours)
	@benchmarks/setup
	@$(PYTHON) -m benchmarks $(BENCHES)

bench-quick: setup  ## the key ratios beside their budgets, in under 3 minutes; fails past them
	@benchmarks/setup
	@$(PYTHON) -m benchmarks --quick $(BENCHES)

$(STAGES): setup  ## one stage of make test
	@$(PYTHON) tools/test.py $@

bare: setup  ## the first test of every stage on bare machines of Debian 12 and 13; not part of make test
	@$(PYTHON) tools/test.py bare

build: setup  ## the collection as a tarball, in .cache/dist
	@ansible-galaxy collection build --force --output-path .cache/dist

docs: setup  ## the site: the reference and the guides, in .cache/docs/site/html
	@$(PYTHON) tools/docs.py

release: setup  ## changelog, commit, tag and tarball of a release: make release VERSION=1.0.0
	@tools/release "$(VERSION)"

down:  ## take away the demo's lab, and what tests have left behind
	@if [ -x $(PYTHON) ]; then $(PYTHON) tools/demo.py --down; else echo "nothing to take away"; fi

clean: down  ## that, and the virtual environment and caches
	rm -rf .venv .cache
