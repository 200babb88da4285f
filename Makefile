# Two commands: `make run` and `make test`. The rest is for those who work on the code.
TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARIES := -p dispatch-cli -p dispatch-driver-cron -p dispatch-driver-vcenter -p dispatch-driver-webhook -p dispatch-driver-eventgrid -p dispatch-sink-sandbox

.PHONY: run test build dist peers lint deny unit doc soak seed bench clean

## A hub with its data in ./.dispatch, seeded on its first start. Ctrl-C stops it.
run:
	cargo build --release $(BINARIES)
	@exec $(TARGET)/release/dispatch server --data ./.dispatch --quickstart

## Everything CI checks, with every peer it needs.
test: peers lint deny unit doc

build:
	cargo build --workspace --bins

## Every program as it is packaged, in target/dist: smaller and faster than `make run` has them, and long to build.
dist:
	cargo build --profile dist --workspace --bins

peers:
	./fixtures/peers.sh

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny:
	cargo deny --log-level error check bans licenses sources

# What peers.sh has fetched is not asked for again.
unit: export npm_config_prefer_offline = true
unit: build
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace; else cargo test --workspace --lib --bins --tests; fi

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo test --workspace --doc --quiet

## What `make test` does briefly, for long.
soak:
	cargo build --profile dist -p dispatch-cli -p dispatch-sink-sandbox
	KILL_CYCLES=$(or $(KILL_CYCLES),2000) DISPATCH_BINARY=$(abspath $(TARGET))/dist/dispatch \
		cargo nextest run --profile soak -p dispatch-cli --test kill_cycles --no-capture
	RUN_KILLS=$(or $(RUN_KILLS),50) DISPATCH_BINARY=$(abspath $(TARGET))/dist/dispatch \
		cargo nextest run --profile soak -p dispatch-cli --test runs_survive_kills --no-capture
	cargo build -p dispatch-driver-vcenter
	VCENTER_OUTAGE_SECONDS=600 VCENTER_OUTAGE_EVENTS=60000 cargo nextest run --profile soak -p dispatch-cli \
		--test vcenter_end_to_end --no-capture -E 'test(all_events_of_a_vcenter_that_was_away)'
	cargo test --release -p dispatch-simulation --test soak -- --ignored --nocapture as_many_seeds

## One simulated world and its whole story: make seed SEED=4711
seed:
	SEED=$(SEED) cargo test -q -p dispatch-simulation --test soak -- --ignored --nocapture one_seed

## The whole-pipeline cases; results go to bench/results/.
bench:
	./bench/run all

clean:
	rm -rf ./.dispatch
