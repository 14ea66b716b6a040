# What a developer does here, as commands. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup plugins build run test lint perf-count clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

setup: ## install what the tests run against (nginx, redis, wrk …), where that is missing
	@.ci/setup

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
		'X-Rust, X-Go and X-AssemblyScript in it were added by plugins/examples/header-injection.' \
		'Ctrl-C ends it.' ''
	@exec target/debug/odin --config config/odin.yaml

lint: ## formatting and clippy, gateway and plugins
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@$(MAKE) --no-print-directory -C plugins lint

test: setup plugins lint ## everything that CI runs: lint, plugins, the gateway on both I/O drivers
	@$(MAKE) --no-print-directory -C plugins test
	ODIN_TEST_IO_DRIVER=epoll cargo test --locked --tests
	ODIN_TEST_IO_DRIVER=io_uring cargo test --locked

perf-count: plugins build ## count the instructions of one request into perf/instructions.json
	perf/instructions.py --binary target/debug/odin --json perf/instructions.json

clean: ## remove what was built
	cargo clean
	@$(MAKE) --no-print-directory -C plugins clean
