# The friendly face of the build. Everything here is plain CMake underneath: see CMakePresets.json.
#   JOBS=n      compile jobs (default: one per core)
#   SETUP=:     skip the installation of packages, when you have them from elsewhere
SHELL := /bin/bash
JOBS ?= $(shell nproc)
SETUP ?= tools/setup
BUILD := build/release

.PHONY: help setup demo test bench format lint

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what building, testing and developing need (Debian, Ubuntu)
	@$(SETUP) --dev

demo: ## Install, build, walk a grid by Q-learning, then train a small language model from nothing to reasoning
	@$(SETUP) --demo
	@cmake --preset release -DGRADUS_BUILD_TESTS=OFF >/dev/null
	@cmake --build $(BUILD) --target gradus_cli -j $(JOBS)
	@n=1; while [ -e runs/demo-$$n ] || [ -e runs/demo-grid-$$n ]; do n=$$((n + 1)); done; \
	  $(BUILD)/gradus train grid/q-learning --out runs/demo-grid-$$n && exec $(BUILD)/gradus train chain/k15 --out runs/demo-$$n

test: ## Install, build everything, and run every test
	@$(SETUP) --test
	@cmake --preset release -DGRADUS_BUILD_TESTS=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure

bench: ## Measure peak, matrix products, training and exactness on this machine
	@$(SETUP) --demo
	@cmake --preset release -DGRADUS_BUILD_TESTS=OFF >/dev/null
	@cmake --build $(BUILD) --target gradus_cli -j $(JOBS)
	@set -e; for what in peak gemm train exact; do $(BUILD)/gradus bench $$what; done

format: ## Rewrite every source file in the house format
	@$(SETUP) --dev
	@tools/format

lint: ## Check format, layers, and the checks of .clang-tidy
	@$(SETUP) --dev
	@tools/format --check
	@tools/check_layers
	@cmake --preset lint >/dev/null
	@cmake --build build/lint --target generated/gradus/run/events.pb.h
	@tools/lint build/lint
