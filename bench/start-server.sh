#!/bin/sh
# Start and stop the server for a load tool.
#
#   start-server.sh fresh NAME [FLAGS...]   start with empty state; prints SERVER=, ADDR=, PID=
#   start-server.sh start NAME [FLAGS...]   start with its present state
#   start-server.sh argv NAME [FLAGS...]    print the command line, one word per line
#   start-server.sh stop NAME
#
# Environment: WORK (folder for state and logs, required), BENCH_PORT (18470), MDMLOAD_API_KEY (secret).
set -eu
: "${WORK:?set WORK to a folder for state and logs}"
root=$(cd "$(dirname "$0")/.." && pwd)
verb=$1 name=$2
shift 2
addr=127.0.0.1:${BENCH_PORT:-18470}
state=$WORK/state/$name pidfile=$WORK/run/$name.pid
mkdir -p "$WORK/state" "$WORK/run" "$WORK/log"

argv() {
    printf '%s\n' "$root/bin/micromdm" serve -config-path "$state" -server-url https://mdm.example.com \
        -tls=false -http-addr "$addr" -api-key "${MDMLOAD_API_KEY:-secret}" "$@"
}

stop() {
    [ -s "$pidfile" ] || return 0
    pid=$(cat "$pidfile")
    rm -f "$pidfile"
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$pid"
}

start() {
    setsid "$root/bin/micromdm" serve -config-path "$state" -server-url https://mdm.example.com -tls=false \
        -http-addr "$addr" -api-key "${MDMLOAD_API_KEY:-secret}" "$@" >"$WORK/log/$name.log" 2>&1 </dev/null &
    echo $! >"$pidfile"
    for _ in $(seq 200); do
        curl -fs "http://$addr/version" >/dev/null && break
        sleep 0.05
    done
    printf 'SERVER=micromdm\nADDR=%s\nPID=%s\n' "$addr" "$(cat "$pidfile")"
}

case $verb in
    fresh) stop; rm -rf "$state"; start "$@" ;;
    start) stop; start "$@" ;;
    argv) argv "$@" ;;
    stop) stop ;;
    *) sed -n '2,9p' "$0"; exit 2 ;;
esac
