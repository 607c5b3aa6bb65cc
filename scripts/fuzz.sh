#!/usr/bin/env bash
# Runs fuzzers: each sort of input for SECONDS (600), one after the other. `scripts/fuzz.sh parse format` runs only those.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-600}
sorts=("$@")
[ ${#sorts[@]} -gt 0 ] || sorts=(parse evaluate format plan_file state_file message)
command -v cargo-fuzz > /dev/null || { echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2; exit 1; }

for sort in "${sorts[@]}"; do
    mkdir -p "fuzz/corpus/$sort"
    # What is found goes to the first folder; the seeds stay as they are. There is no unsafe code of ours to sanitise.
    nice -n 19 cargo fuzz run --sanitizer none "$sort" "fuzz/corpus/$sort" "fuzz/seeds/$sort" -- \
        -dict=fuzz/dictionary -max_len=8192 -rss_limit_mb=1024 -timeout=20 -max_total_time="$seconds"
done
