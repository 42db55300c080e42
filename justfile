# Short names for what one types every day; `.ci/run` is what decides.

# List the recipes.
default:
    @just --list

build:
    cargo build

# The whole suite; root runs the tests that need namespaces too.
test *ARGS:
    cargo test {{ARGS}}

lint:
    cargo fmt --check
    cargo clippy --all-targets --all-features -- -D warnings
    cargo clippy --no-default-features -- -D warnings

# Everything that CI does, from the packages to the release build.
ci:
    .ci/run

serve *ARGS:
    cargo run --release -- serve {{ARGS}}

# Thousands of endpoints on loopback, spoken to by a client that is not ours.
demo:
    scripts/demo

# Faults of every kind under clients that compare each byte; fails on loss or drift.
soak MINUTES="1":
    scripts/soak {{MINUTES}}

# Specs, configuration and matcher under arbitrary input; each target for so many seconds.
fuzz SECONDS="60" *TARGETS:
    scripts/fuzz {{SECONDS}} {{TARGETS}}

# Echo servers in C, tokio and actix beside IPCow, one load generator: the ratio table.
compare *ARGS:
    scripts/compare {{ARGS}}

# The core functions one by one, with criterion.
bench *ARGS:
    cargo bench {{ARGS}}
