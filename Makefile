# Every target is safe to run again. What a target installs, it says before it does.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit test-deployment lint ui bench fate-dir fate-1.11.2 fate-party

VENV := .venv
FIMG := $(VENV)/bin/fimg
# Where the bundled sample source is written.
SAMPLE ?= $(HOME)/.local/state/fimg/sample
SAMPLE_SOURCE = FATE_DIR="$(SAMPLE)/fate" FATE_LLM_URL="$(SAMPLE)/fate-llm" \
	IPCL_PKG_DIR="$(SAMPLE)/pailliercryptolib_python"
# What .env says of names and versions is meant for real builds; how it has things built (mirrors, Docker_Options) holds
# for the sample too.
SAMPLE_NAMES = PREFIX=federatedai Platform=amd64 Build_LLM_VERSION=v1.2.0 IPCL_VERSION=v1.1.3
DEMO = TAG=demo BASE_TAG=demo $(SAMPLE_NAMES)
ALL_SWITCHES = Build_Basic=1 Build_OP=1 Build_FUM=1 Build_NN=1 Build_Spark=1 Build_IPCL=1 Build_GPU=1 Build_LLM=1

# These tests write thousands of small files: in memory, where that can be had.
QUICK_TMP = $(if $(wildcard /dev/shm/.),/dev/shm,/tmp)

help:
	@echo "make setup        virtual environment, Docker engine, the fimg command in $(VENV)/bin"
	@echo "make demo         all 34 images from a bundled sample source"
	@echo "make test         all tests, from a bare machine"
	@echo "make test-unit    the tests that need no engine"
	@echo "make test-deployment  the team's deployment, up, killed and brought back; builds on two engines"
	@echo "make lint         ruff and mypy"
	@echo "make ui           the web UI on http://127.0.0.1:3000"
	@echo "make bench        measures, and writes docs/performance.md"
	@echo "make fate-1.11.2  all images from FATE_DIR, a checkout of the real FATE"
	@echo "make fate-party   two KubeFATE parties on the images of FATE_DIR, tested and taken down again"

$(VENV)/.complete: pyproject.toml scripts/ensure-venv
	@scripts/ensure-venv

setup: $(VENV)/.complete
	@scripts/ensure-engine
	@$(FIMG) setup

demo: setup
	@$(FIMG) sample "$(SAMPLE)" >/dev/null
	@$(SAMPLE_SOURCE) $(ALL_SWITCHES) $(DEMO) $(FIMG) build all

test: setup test-unit
	@TMPDIR=$(QUICK_TMP) $(VENV)/bin/python -m pytest -m simulation --numprocesses auto
	@# Much of it waits for daemons and nodes; what one file's tests share is made once, so a file stays with one worker.
	@$(VENV)/bin/python -m pytest -m engine --numprocesses 2 --dist loadfile --durations=25 --durations-min=20

test-unit: $(VENV)/.complete
	@TMPDIR=$(QUICK_TMP) $(VENV)/bin/python -m pytest -m "not simulation and not engine and not deployment and not release and not party" --numprocesses auto

test-deployment: setup
	@$(VENV)/bin/python -m pytest -m deployment

lint: $(VENV)/.complete
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

# Before anybody has said where FATE is, the UI builds the sample of `make demo`.
ui: $(VENV)/.complete
ifeq ($(FATE_DIR)$(wildcard .env),)
	@[ ! -d "$(SAMPLE)/fate" ] || echo "FATE_DIR is not set: the UI builds the sample of make demo"
	@if [ -d "$(SAMPLE)/fate" ]; then $(SAMPLE_SOURCE) $(ALL_SWITCHES) TAG=demo $(SAMPLE_NAMES) $(FIMG) ui; else $(FIMG) ui; fi
else
	@$(FIMG) ui
endif

fate-1.11.2 fate-party: TAG = 1.11.2-release
# What KubeFATE calls RegistryURI; no such host can exist, so nothing is pulled in place of what was built.
PARTY_REGISTRY = fate-party.invalid
PARTY_IMAGES = fateflow fateboard eggroll fateflow-spark nginx client fate-test

fate-dir:
	@test -n "$(FATE_DIR)" || grep -qs '^ *\(export \)*FATE_DIR=' .env || { echo "set FATE_DIR to a checkout of https://github.com/FederatedAI/FATE.git" >&2; exit 1; }

fate-1.11.2: fate-dir setup
	@# The table is written whichever images failed: it says what and why.
	@$(ALL_SWITCHES) TAG=$(TAG) $(FIMG) build all; status=$$?; \
	$(ALL_SWITCHES) TAG=$(TAG) $(VENV)/bin/python -m bench.release && exit $$status
	@TAG=$(TAG) $(VENV)/bin/python -m pytest -m release

fate-party: fate-dir setup
	@test -n "$(KUBEFATE_DIR)" || { echo "set KUBEFATE_DIR to a clone of https://github.com/FederatedAI/KubeFATE.git" >&2; exit 1; }
	@TAG=$(TAG) PREFIX=$(PARTY_REGISTRY)/federatedai $(FIMG) build $(addprefix --image ,$(PARTY_IMAGES))
	@TAG=$(TAG) $(VENV)/bin/python -m pytest -m party

bench: setup
	@$(VENV)/bin/python -m bench.matrix
	@$(VENV)/bin/python -m bench.ship
	@$(VENV)/bin/python -m bench.register
	@$(VENV)/bin/python -m bench.automation
