# SPDX-License-Identifier: Apache-2.0
# Shortcuts over scripts/setup.sh and the CMake presets. `make help` lists them.

# Compiling a file takes up to 1.5 GiB: as many jobs as cores, but no more than memory allows.
JOBS ?= $(shell awk -v cores="$$(nproc)" '/^MemAvailable/ { fit = int($$2 / 1572864) } \
          END { jobs = fit < cores ? fit : cores; print jobs < 1 ? 1 : jobs }' /proc/meminfo)
PREFIX ?= /usr/local
# make test: which preset, which parts (names of duly_library; empty: everything), which tests to leave out (a regular
# expression).
PRESET ?= dev
PARTS ?=
SKIP ?=
# make fuzz: inputs that each target tries.
RUNS ?= 4000

CONFIGURE = mkdir -p build/$(1) && cmake --preset $(1) $(CMAKE_FLAGS) >build/$(1)/configure.log 2>&1 || \
            { cat build/$(1)/configure.log; exit 1; }
BUILD = cmake --build --preset $(1) --parallel $(JOBS)

empty :=
space := $(empty) $(empty)
PARTS_PATTERN = $(subst $(space),|,$(strip $(PARTS)))

.DEFAULT_GOAL := all
.PHONY: all setup build deb cross demo test fuzz determinism lint standalone tidy bench install clean help

all: build ## build/release/duly (the default)

setup: ## everything that Duly needs on this machine
	scripts/setup.sh

build: ## the program, in build/release
	scripts/setup.sh build
	@$(call CONFIGURE,release)
	$(call BUILD,release) --target duly

demo: build ## serve real models under three loads and two policies; prints one table
	scripts/setup.sh models
	scripts/demo.sh

test: ## build and run every test (PRESET=dev, PARTS=, SKIP=)
	scripts/setup.sh build test models $(if $(filter clang asan-ubsan,$(PRESET)),clang) $(filter aarch64,$(PRESET))
	@$(call CONFIGURE,$(PRESET))
	$(call BUILD,$(PRESET)) $(if $(PARTS),--target $$(ninja -C build/$(PRESET) -t targets all | \
	  sed -nE 's/^(duly_($(PARTS_PATTERN))|($(PARTS_PATTERN))_test): phony$$/\1/p'))
	ctest --preset $(PRESET) --parallel $(JOBS) --no-tests=error \
	  $(if $(PARTS),-L '^($(PARTS_PATTERN))$$') $(if $(SKIP),-E '$(SKIP)') \
	  --output-junit $(CURDIR)/build/$(PRESET)/junit.xml

fuzz: override CMAKE_FLAGS += -DDULY_FUZZ_RUNS=$(RUNS)
fuzz: ## run the fuzz targets with libFuzzer and sanitizers (RUNS=)
	scripts/setup.sh build clang
	@$(call CONFIGURE,fuzz)
	$(call BUILD,fuzz) --target fuzzers
	ctest --preset fuzz --parallel $(JOBS) --no-tests=error -L '^fuzz$$' \
	  --output-junit $(CURDIR)/build/fuzz/junit.xml

determinism: ## every scenario under two compilers at two levels of optimisation: the same event logs
	scripts/setup.sh build clang
	JOBS=$(JOBS) tests/determinism/run.sh

lint: ## include direction, clocks, sleeps, chance, layout (tools/lint)
	scripts/setup.sh lint
	python3 tools/lint/lint_test.py
	python3 tools/lint/lint.py

standalone: ## every source file compiles without those beside it
	scripts/setup.sh build clang
	@$(call CONFIGURE,clang)
	$(call BUILD,clang) --target duly_proto duly_grpc_proto
	python3 tools/lint/standalone.py build/clang --jobs $(JOBS)

tidy: ## clang-tidy over src, or over what differs from SINCE=COMMIT
	scripts/setup.sh build lint
	@$(call CONFIGURE,clang)
	@files=$$(git $(if $(SINCE),diff --name-only --diff-filter=d $(SINCE),ls-files) -- 'src/*.cc'); \
	if [ -n "$$files" ]; then run-clang-tidy -quiet -p build/clang -j $(JOBS) $$files; fi

bench: build ## the benchmarks of docs/benchmarks.md
	$(call BUILD,release) --target benches http_client grpc_client deadline_client \
	  echo_server_raw echo_server_beast echo_server_grpc
	python3 bench/run.py
	python3 bench/reload.py
	python3 bench/instructions.py

install: build ## into PREFIX (/usr/local), below DESTDIR if set
	cmake --install build/release --prefix $(PREFIX)

deb: build ## a Debian package: build/release/duly_*.deb
	cd build/release && cpack

# Parts whose tests run under qemu-user: those that need no process, no ONNX Runtime and no exact times.
CROSS_PARTS = base model queueing profile policy engine device_model workload placement repository
cross: ## the program and its Debian package for arm64, and unit tests under qemu-user: build/aarch64
	$(MAKE) test PRESET=aarch64 PARTS="$(CROSS_PARTS)"
	$(call BUILD,aarch64) --target duly
	cd build/aarch64 && cpack

clean: ## remove build/; .deps/ stays
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
