#!/usr/bin/env bash
# Kills applies and destroys with SIGKILL at random moments, each time on a real deployment on this machine: agent,
# metadata target, object targets, bucket, link and mount. Usage: kills.sh [ROUNDS=200]
#
# After each kill: the state can be read, the next command finishes, a plan is empty, one agent runs, the mount works; at
# the end of each life nothing is left, no process, no mount. LUSTRE_KILLS_SEED repeats a run.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-200}
target=${CARGO_TARGET_DIR:-target}
case "$target" in /*) ;; *) target=$PWD/$target ;; esac
profile=${LUSTRE_KILLS_PROFILE:-release}
[ "$profile" = dev ] && folder=debug || folder=$profile
lustre=$target/$folder/lustre
RANDOM=${LUSTRE_KILLS_SEED:-$$}

cargo build --profile "$profile" --workspace --bins --quiet
lab=$(mktemp -d "${TMPDIR:-/tmp}/kills.XXXXXX")
port=$((20000 + RANDOM % 8000))
spec() { "$lustre" "-chdir=$lab" "$@"; }

write_spec() { # object targets
    cat > "$lab/main.hcl" <<SPEC
host "here" {
  connection   = "local"
  path         = "$lab/agent"
  control_port = $port
  port_range   = "$((port + 1))-$((port + 40))"
}

bucket "data" {
  host = host.here
  path = "$lab/bucket"
}

cluster "kills" {
  deployment_type = "SCRATCH_2"

  metadata {
    host = host.here
    path = "$lab/mdt"
  }

  storage {
    hosts            = host.here
    path             = "$lab/ost"
    targets_per_host = $1
    target_capacity  = "1GiB"
  }
}

data_repository_association "link" {
  cluster                          = cluster.kills
  file_system_path                 = "/link"
  data_repository_path             = bucket.data.data_repository_path
  batch_import_meta_data_on_create = true

  s3 {
    endpoint_url     = bucket.data.endpoint_url
    credentials_file = bucket.data.credentials_file
  }
}

mount "here" {
  cluster = cluster.kills
  host    = host.here
  path    = "$lab/mnt"
}

value "step" {
  count = 40
  input = count.index
}
SPEC
}

fail() {
    echo "kills: round $round: $1 (the deployment is in $lab)" >&2
    exit 1
}

# Says how many milliseconds a command takes that nobody disturbs.
lasts() {
    local begun
    begun=$(date +%s%N)
    spec "$@" > "$lab/lasts.out" 2>&1 || fail "$*: $(tail -5 "$lab/lasts.out")"
    echo $((($(date +%s%N) - begun) / 1000000 + 1))
}

# Starts a command, kills it after a random pause of at most $1 milliseconds.
kill_within() {
    local limit=$1 pause
    shift
    pause=$((RANDOM * RANDOM % limit))
    "$lustre" "-chdir=$lab" "$@" > "$lab/killed.out" 2>&1 &
    local pid=$!
    sleep "$(printf '%d.%03d' $((pause / 1000)) $((pause % 1000)))"
    kill -KILL "$pid" 2> /dev/null || ended=$((ended + 1))
    wait "$pid" 2> /dev/null || true
    spec state list > "$lab/list.out" 2>&1 || fail "the state cannot be read: $(cat "$lab/list.out")"
}

finish() {
    spec apply -auto-approve '-allow-data-loss=*' > "$lab/apply.out" 2>&1 || fail "apply: $(tail -5 "$lab/apply.out")"
    spec plan -detailed-exitcode > "$lab/plan.out" 2>&1 || fail "a plan is not empty: $(tail -20 "$lab/plan.out")"
    [ "$(pgrep -fc "lustre-agent run .*$lab/agent")" = 1 ] || fail "not one agent: $(pgrep -fa "$lab")"
    echo "$round" > "$lab/mnt/file" && [ "$(cat "$lab/mnt/file")" = "$round" ] || fail "the mount does not work"
    [ "$(cat "$lab/mnt/link/kept")" = kept ] || fail "the link does not work"
}

begin_life() {
    rm -rf "$lab"
    mkdir -p "$lab/bucket"
    echo kept > "$lab/bucket/kept"
    write_spec $((1 + RANDOM % 3))
}

ended=0
round=0
begin_life
apply_ms=$(lasts apply -auto-approve)
write_spec 4
edit_ms=$(lasts apply -auto-approve)
destroy_ms=$(lasts destroy -auto-approve '-allow-data-loss=*')
while [ "$round" -lt "$rounds" ]; do
    begin_life
    # One life: creation, two edits, and the end, each killed once before it is finished.
    for limit in "$apply_ms" "$edit_ms" "$edit_ms"; do
        round=$((round + 1))
        kill_within "$limit" apply -auto-approve '-allow-data-loss=*'
        finish
        write_spec $((1 + RANDOM % 3))
    done
    round=$((round + 1))
    kill_within "$destroy_ms" destroy -auto-approve '-allow-data-loss=*'
    spec destroy -auto-approve '-allow-data-loss=*' > "$lab/destroy.out" 2>&1 || fail "destroy: $(tail -5 "$lab/destroy.out")"
    [ -z "$(spec state list)" ] || fail "the state is not empty"
    ! pgrep -f "$lab/agent" > /dev/null || fail "a process is left: $(pgrep -fa "$lab/agent")"
    ! grep -q "$lab/mnt" /proc/self/mounts || fail "the mount is left"
    [ "$(cat "$lab/bucket/kept")" = kept ] || fail "the bucket's folder was touched"
done
rm -rf "$lab"
echo "kills: $round kills, of which $ended came after the end; every next command finished"
