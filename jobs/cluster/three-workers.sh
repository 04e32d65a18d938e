#!/bin/sh
# A run on three workers, all of them on this machine, on made-up logs: to see how it goes.
#
# usage: three-workers.sh [FOLDER]      (a new folder for the logs and the warehouse: lookback-demo)
#
# The program has to be built with the feature cluster. Workers listen on free ports of loopback, so that
# nobody else reaches them, and are stopped at the end.
set -eu
folder=${1:-lookback-demo}
lookback=${LOOKBACK:-lookback} # the program

"$lookback" worker --help >/dev/null 2>&1 || {
    echo "$lookback has no workers: cargo install --locked --path . --features cluster" >&2
    exit 2
}

logs=$(mktemp -d)
workers=
stop() {
    # shellcheck disable=SC2086 # process ids are words
    [ -z "$workers" ] || kill $workers 2>/dev/null || :
    rm -rf "$logs"
}
trap stop EXIT
trap 'exit 130' INT TERM

addresses=
for number in 1 2 3; do
    log=$logs/$number
    : >"$log"
    "$lookback" worker --listen 127.0.0.1:0 --cores 1 2>"$log" &
    workers="$workers $!"
    until address=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$log") && [ -n "$address" ]; do
        kill -0 $! 2>/dev/null || {
            cat "$log" >&2
            exit 1
        }
        sleep 0.1
    done
    addresses=${addresses:+$addresses,}$address
done
echo "workers: $addresses (processes$workers)"

"$lookback" demo "$folder" --no-run
# So few rows would be one task. With 0 each file is worth one.
printf '\n[cluster]\npiece_mb = 0\n' >>"$folder/job.toml"
# One of the three may be lost: try `kill` on it meanwhile.
"$lookback" backfill "$folder/job.toml" --from 2026-03-01 --to 2026-04-09 \
    --workers "$addresses" --min-workers 2
"$lookback" report "$folder/job.toml"
