# What a developer does here, as commands. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup keys plugins build run test test-browser lint advisories bench perf-check perf-accept \
	perf-show perf-selftest flamegraph release dist dist-try pgo conformance floods loadtest failing soak \
	soak-fleet fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F':.*## ' '{ printf "make %-14s %s\n", $$1, $$2 }'

setup: ## install what the tests run against (nginx, redis, wrk …), where that is missing
	@.ci/setup
	@.ci/tools

keys: ## write docs/schema.json, the tables of docs/configuration.md and what config/odin.yaml lacks from the table of keys
	ODIN_WRITE_KEYS=1 cargo test --locked --lib -q -- written_from_the_table odin_yaml_says

plugins: ## build the plugins into plugins/dist, installing toolchains that are missing
	@$(MAKE) --no-print-directory -C plugins

build: ## build the gateway and odin-cli (target/debug)
	cargo build --locked --bins

run: plugins build ## start the gateway with config/odin.yaml on 127.0.0.1:8080
	@printf '%s\n' '' \
		'Odin listens on http://127.0.0.1:8080 and answers with what a service would have seen:' \
		'' \
		'  curl -s http://127.0.0.1:8080/api/users' \
		'  curl -s http://127.0.0.1:8080/api/users -d "{\"name\":\"ann\"}"' \
		'  curl -s http://127.0.0.1:8081/healthz' \
		'' \
		'The dashboard: http://127.0.0.1:8081/' \
		'' \
		'X-Rust, X-Go and X-AssemblyScript in it were added by plugins/examples/header-injection.' \
		'Ctrl-C ends it.' ''
	@exec target/debug/odin --config config/odin.yaml

lint: ## formatting, clippy and dependencies (cargo-deny, cargo-machete), gateway and plugins
	@.ci/dependencies check
	@.ci/dependencies selftest
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@# A dependency of the gateway is one of the fuzz targets', which have a lock file of their own.
	@cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	@$(MAKE) --no-print-directory -C plugins lint

advisories: ## take the advisories that lint checks dependencies by anew from the public database
	@.ci/dependencies renew

test: setup plugins lint ## everything that CI runs: lint, plugins, the gateway on both I/O drivers
	@$(MAKE) --no-print-directory -C plugins test
	perf/check.py check
	@$(MAKE) --no-print-directory test-browser
	ODIN_TEST_IO_DRIVER=epoll cargo test --locked --tests
	ODIN_TEST_IO_DRIVER=io_uring cargo test --locked

perf-check: setup plugins ## count instructions of requests and stages; fail where one has grown by 3 %
	perf/check.py check $(if $(BASE),--base $(BASE))

perf-accept: setup plugins ## make today's counts the record: perf-accept REASON='why it is worth it'
	@perf/check.py accept "$(REASON)"

perf-show: setup plugins ## print the counts, with the functions that cost most
	@perf/check.py show

perf-selftest: setup plugins ## show that perf-check fails when the path of a request is slowed
	perf/selftest.sh

# The crate `odin` as in a release, its dependencies as they are built already (perf/README.md).
OPTIMISED := --config profile.dev.package.odin.opt-level=3 \
	--config profile.dev.package.odin.debug-assertions=false \
	--config profile.dev.package.odin.overflow-checks=false

bench: plugins ## time the stages of a request; BENCH=plugin/ for some, RELEASE=1 with everything as released
	cargo bench --locked --bench time $(if $(RELEASE),,--profile dev $(OPTIMISED)) -- $(BENCH)

SCENARIO ?= plain
flamegraph: setup plugins target/tools/bin/inferno-flamegraph ## sample a gateway under load; SCENARIO=chain-10
	@command -v perf >/dev/null || { echo "install perf (Debian's linux-perf)" >&2; exit 1; }
	flamegraphs/guests.sh target/flamegraphs/guests
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/flamegraphs/rustc.sh \
		cargo build --locked --bin odin --target-dir target $(OPTIMISED)
	cp target/debug/odin target/flamegraphs/odin
	flamegraphs/run.sh $(SCENARIO)

target/tools/bin/inferno-flamegraph:
	cargo install inferno@0.12.8 --locked --root target/tools --no-default-features --features cli,nameattr

release: ## build what is to be installed: target/release/odin and odin-cli, with fat LTO (minutes)
	cargo build --locked --release --bins

PROFILE ?= release
dist: ## pack what release or pgo has built into target/dist: .deb, tarball, symbols, SBOM; PROFILE=pgo
	config/deploy/package/build $(PROFILE)

dist-try: ## install that .deb into a Debian of its own and start, reload, upgrade, stop it there (as root)
	config/deploy/package/try

pgo: setup plugins ## the same, optimised by a profile of itself under load: target/pgo/odin
	perf/pgo.sh

test-browser: setup plugins build ## the dashboard in a headless Chromium
	@tests/browser/run.sh

conformance: build ## run h2spec, the cases of grpc-go and Connect, sslyze and WebSocket cases; writes docs/conformance.md; ONLY=grpc
	@.ci/conformance $(ONLY)

floods: ## what one client of HTTP/2 sees while others flood, beside nginx, HAProxy, Envoy (two minutes); BINARY=
	loadtest/floods.py --binary $(or $(BINARY),target/release/odin) --write loadtest/results/floods.md

loadtest: plugins ## compare with nginx, HAProxy and Envoy: CPU, latency, claims (50 minutes and the builds)
	@loadtest/setup build
	cargo build --release --locked --bin odin
	perf/pgo.sh || echo 'without a profile: it is the release that is measured' >&2
	loadtest/compare.py $(LOADTEST)

failing: build ## origins that fail, beside nginx, HAProxy and Envoy; writes docs/failing-origins.md (some 8 minutes)
	@loadtest/setup
	loadtest/failing.py --write $(FAILING)

SOAK ?= --plugins 1000 --configs 200 --upgrades 3 --edges 300
soak: setup plugins build ## reload and upgrade under load: nothing fails, nothing stays (some 4 minutes)
	loadtest/reloads.py --binary target/debug/odin $(SOAK)

SOAK_FLEET ?= --seconds 600 --services 10000 --rate 10 --nodes 2
soak-fleet: setup build ## ten changes a second of a fleet of 10,000 services, under load (ten minutes)
	loadtest/fleet.py --binary target/debug/odin $(SOAK_FLEET)

FUZZ_SECONDS ?= 20
fuzz: ## search for inputs that break something, FUZZ_SECONDS (20) for each target of fuzz/
	@fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

clean: ## remove what was built
	cargo clean
	@$(MAKE) --no-print-directory -C plugins clean
