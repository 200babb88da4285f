# What the cases share: sourced by bench/cases/*/run, which gets the folder for its rows as its argument.
set -euo pipefail
out=$1
hub_pid=

# Starts a hub on free ports with its data below $out; sets $api. The CLI talks to it from then on.
start_hub() {
    DISPATCH_PORT=$("$BENCH_BIN/dispatch-bench" port)
    export DISPATCH_PORT DISPATCH_HOST=127.0.0.1 DISPATCH_SCHEME=http DISPATCH_CONFIG=$out/config.json
    api=http://127.0.0.1:$DISPATCH_PORT
    DISPATCH_LOG=${DISPATCH_LOG:-warn} "$BENCH_BIN/dispatch" server --data "$out/data" --port "$DISPATCH_PORT" \
        --gateway-port "$("$BENCH_BIN/dispatch-bench" port)" >"$out/hub.log" 2>&1 &
    hub_pid=$!
    trap stop_hub EXIT
    for _ in $(seq 300); do
        kill -0 "$hub_pid" 2>/dev/null || { cat "$out/hub.log" >&2; exit 1; }
        ! curl -fsS -o "$out/healthz" "$api/healthz" 2>/dev/null || return 0
        sleep 0.1
    done
    echo "the hub does not become healthy" >&2
    exit 1
}

stop_hub() {
    [ -n "$hub_pid" ] || return 0
    kill "$hub_pid" 2>/dev/null || true
    wait "$hub_pid" || true
    hub_pid=
    rm -rf "$out/data"
}

dispatch() { "$BENCH_BIN/dispatch" "$@"; }

# A free port for the target, so that subscriptions can name it before it listens.
target_port() { "$BENCH_BIN/dispatch-bench" port; }

# row NAME FLAGS…: measures one row. Rows are listed in the order of their names' first characters.
row() {
    local name=$1
    shift
    "$BENCH_BIN/dispatch-bench" run --name "${name#*-}" --seconds "$BENCH_SECONDS" --producers "$BENCH_PRODUCERS" \
        --out "$out/$name.row.json" "$@"
    grep -E '"(name|acks_per_second|deliveries_per_second|deliveries_missing|errors)"' "$out/$name.row.json"
}

# The limit: the same load straight from the generator to the target, without a hub.
limit() { row 0-limit --direct "$@"; }

# hub_row NAME FLAGS…: the same against the hub, watching its process.
hub_row() { row "$1" --url "$api/v1/events" --pid "$hub_pid" "${@:2}"; }
