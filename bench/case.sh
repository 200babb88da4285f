# What the cases share: sourced by bench/cases/*/run, which gets the folder for its rows as its argument.
set -euo pipefail
out=$1
hub_pid=
started=()

bench() { "$BENCH_BIN/dispatch-bench" "$@"; }
dispatch() { "$BENCH_BIN/dispatch" "$@"; }

# Runs in the background, logs to $out/NAME.log, is ended with the case; sets $pid.
start() {
    "${@:2}" >>"$out/$1.log" 2>&1 &
    pid=$!
    started+=("$pid")
}

# Ends it and waits.
stop() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

stop_all() {
    for one in "${started[@]}"; do stop "$one"; done
    rm -rf "$out"/data* "$out/floor.bin"
}
trap stop_all EXIT

# until_up NAME PID URL: waits until something answers there.
until_up() {
    for _ in $(seq 600); do
        kill -0 "$2" 2>/dev/null || { cat "$out/$1.log" >&2; exit 1; }
        ! curl -sS -o "$out/answer" "$3" 2>/dev/null || return 0
        sleep 0.05
    done
    echo "$1 does not answer at $3" >&2
    exit 1
}

# start_hub [DATA] [FLAGS…]: a hub on free ports with its data in $out/DATA; sets $api and $hub_pid. The CLI talks to it
# from then on.
start_hub() {
    hub_data=$out/${1:-data}
    DISPATCH_PORT=$(bench port)
    export DISPATCH_PORT DISPATCH_HOST=127.0.0.1 DISPATCH_SCHEME=http DISPATCH_CONFIG=$out/config.json
    export DISPATCH_LOG=${DISPATCH_LOG:-warn}
    api=http://127.0.0.1:$DISPATCH_PORT
    start hub "$BENCH_BIN/dispatch" server --data "$hub_data" --port "$DISPATCH_PORT" --gateway-port "${gateway_port:-$(bench port)}" \
        --gateway-tls-port 0 "${@:2}"
    hub_pid=$pid
    until_up hub "$hub_pid" "$api/healthz"
}

# Ends it; its data go, too.
stop_hub() {
    stop "$hub_pid"
    rm -rf "$hub_data"
}

# start_floor PORT: the bare server; it posts on to the target at PORT. Sets $floor_url and $floor_pid.
start_floor() {
    local port
    port=$(bench port)
    floor_url=http://127.0.0.1:$port/
    start floor "$BENCH_BIN/dispatch-bench" floor --listen "127.0.0.1:$port" --forward "http://127.0.0.1:$1/0" \
        --file "$out/floor.bin"
    floor_pid=$pid
    until_up floor "$floor_pid" "$floor_url"
}

# A free port for the target, so that subscriptions can name it before it listens.
target_port() { bench port; }

# subscribe NAME TYPE URL FLAGS…: a web hook.
subscribe() {
    dispatch create subscription --name "$1" --event-type "$2" --sink "$3" "${@:4}" >>"$out/cli.log"
}

# ready KIND NAME: waits until a resource is READY.
ready() {
    for _ in $(seq 300); do
        ! dispatch get "$@" -o json | grep -q '"status": "READY"' || return 0
        sleep 0.2
    done
    dispatch get "$@" -o json >&2
    exit 1
}

# image LANGUAGE: a base image and an image of this name.
image() {
    dispatch create base-image "$1" "bench/$1:1" --language "$1" >>"$out/cli.log"
    dispatch create image "$1" "$1" >>"$out/cli.log"
    ready image "$1"
}

# deploy NAME LANGUAGE FILE HANDLER FLAGS…: a function of bench/functions, or of the folder $functions.
deploy() {
    dispatch create function "$1" "${functions:-bench/functions}/$3" --image "$2" --handler "$4" "${@:5}" >>"$out/cli.log"
    ready function "$1"
}

# api NAME FUNCTION: POST /dispatch/NAME at the gateway, which has to be at $gateway_port.
api() { dispatch create api "$1" "$2" --method POST --path "/$1" >>"$out/cli.log"; }

rounds() { seq "$BENCH_ROUNDS"; }

# row NAME FLAGS…: measures one row.
row() {
    local seconds=(--seconds "$BENCH_SECONDS")
    [[ " $* " != *" --seconds "* ]] || seconds=()
    bench run --name "$1" "${seconds[@]}" --out "$out/rows" "${@:2}"
    said "$1"
}

# loopback NAME FLAGS…: the load straight from the generator to the target.
loopback() { row "$1" --direct "${@:2}"; }

# call NAME FLAGS… -- COMMAND…: a function's worker with nothing in between.
call() {
    bench call --name "$1" --seconds "$BENCH_SECONDS" --out "$out/rows" "${@:2}"
    said "$1"
}

# said NAME: what the last row says.
said() {
    echo "$1: $(tail -n 1 "$out/rows" | grep -oE '"(acks_per_second|deliveries_per_second|deliveries_missing|errors|p50|p99)":[0-9.]+' | tr '\n' ' ')"
}

# figure NAME: a figure of the last row.
figure() { tail -n 1 "$out/rows" | grep -oE "\"$1\":[0-9.]+" | head -n 1 | cut -d : -f 2; }

# floor NAME PORT FLAGS…: the load against a fresh bare server.
floor() {
    start_floor "$2"
    row "$1" --url "$floor_url" --listen "127.0.0.1:$2" --pid "$floor_pid" "${@:3}"
    stop "$floor_pid"
}

# hub NAME FLAGS…: the load against the hub that runs.
hub() { row "$1" --url "$api/v1/events" --pid "$hub_pid" "${@:2}"; }

# target TEXT: what is aimed at; see bench/src/target.rs.
target() { echo "$1" >>"$out/targets"; }
