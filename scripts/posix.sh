#!/usr/bin/env bash
# POSIX suites that others wrote, on mounts of a cluster that is made for them on this machine and removed behind them.
# Usage: posix.sh [pjdfstest] [fsx] [suites]        without a name: pjdfstest and fsx, as CI runs them
#
# pjdfstest and fsx come from crates.io, in the versions below, into target/. `suites` runs what SUITES=FOLDER holds: in
# FOLDER/pjdfstest the C suite (git clone https://github.com/pjd/pjdfstest). FSX_SEEDS="1 2 3" and FSX_OPERATIONS=N set how
# long fsx goes on, with each seed in each of its ways: with and without mappings, on one mount and on two, plain and compressed.
# What is known to fail or to be skipped is listed with its reason in tests/posix.
set -euo pipefail
cd "$(dirname "$0")/.."

pjdfstest_version=0.2.2
fsx_version=0.3.2
seeds=${FSX_SEEDS:-1}
operations=${FSX_OPERATIONS:-2000}
suite_limit=${POSIX_LIMIT:-900}

[ "$(id -u)" -eq 0 ] || { echo "posix: suites change owners and mount: run as root, for instance with sudo" >&2; exit 1; }
target=${CARGO_TARGET_DIR:-target}
case "$target" in /*) ;; *) target=$PWD/$target ;; esac
profile=${LUSTRE_POSIX_PROFILE:-dev}
[ "$profile" = dev ] && folder=debug || folder=$profile
lustre=$target/$folder/lustre
tools=$target/posix-tools
wanted=("$@")
[ $# -gt 0 ] || wanted=(pjdfstest fsx)

# What a suite's crate is as a program; built once per version.
tool() { # crate, version
    local root=$tools/$1-$2
    [ -x "$root/bin/$1" ] || cargo install "$1" --version "=$2" --locked --debug --quiet --no-track --root "$root" >&2
    echo "$root/bin/$1"
}

cluster() { # name, compression
    cat <<SPEC

cluster "$1" {
  deployment_type       = "SCRATCH_2"
  data_compression_type = "$2"
  metadata {
    host = host.here
    path = "$lab/$1/mdt"
  }
  storage {
    hosts            = host.here
    path             = "$lab/$1/ost"
    targets_per_host = 3
    target_capacity  = "2GiB"
  }
}
SPEC
    for side in a b; do
        printf '\nmount "%s" {\n  cluster = cluster.%s\n  host    = host.here\n  path    = "%s"\n}\n' "$1-$side" "$1" "$lab/$1-$side"
    done
}

up() {
    cat > "$lab/main.hcl" <<SPEC
host "here" {
  connection   = "local"
  path         = "$lab/agent"
  control_port = $port
  port_range   = "$((port + 1))-$((port + 40))"
}
$(cluster plain NONE)
$(cluster packed LZ4)
SPEC
    "$lustre" "-chdir=$lab" apply -auto-approve > "$lab/apply.txt" 2>&1 || { cat "$lab/apply.txt" >&2; return 1; }
    # Small stripes, so that most of what suites do crosses some of them.
    for mount in plain packed; do
        "$lustre" fs setstripe -c 3 -S 65536 "$lab/$mount-a"
    done
}

down() {
    local code=$?
    trap - EXIT
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
    cd /
    if [ "$code" -ne 0 ]; then
        (cd "$lab/agent" && find . -name '*log*' -type f -exec tail -n 200 {} +) > "$kept/agents.log" 2>/dev/null || true
        echo "posix: failed; what suites and agents said is in $kept" >&2
    fi
    if ! "$lustre" "-chdir=$lab" destroy -auto-approve "-allow-data-loss=cluster.*" > "$lab/destroy.txt" 2>&1; then
        cat "$lab/destroy.txt" >&2
        code=1
    fi
    rm -rf --one-file-system "$lab"
    exit "$code"
}

# `mount -o remount` of a FUSE file system asks a helper that would mount it anew; without one the kernel does what is meant.
remounts() {
    mkdir -p "$lab/bin"
    printf '#!/bin/sh\nexec "%s" -i "$@"\n' "$(command -v mount)" > "$lab/bin/mount"
    chmod +x "$lab/bin/mount"
}

run_pjdfstest() {
    local program
    program=$(tool pjdfstest "$pjdfstest_version")
    remounts
    mkdir -p "$lab/other" "$lab/plain-a/pjdfstest"
    pjdfstest_run all false
    # Read-only mounts last and in a process of their own: other cases leave files open, which keeps the kernel from remounting.
    pjdfstest_run erofs true erofs
    diff <(sed -e 's/ *#.*//' -e '/^$/d' tests/posix/pjdfstest.skipped | sort) \
        <(awk '$2 == "skipped" && (FILENAME ~ /erofs.txt$/ || $1 !~ /::erofs_/) { print $1 }' "$kept"/pjdfstest-*.txt | sort) >&2 \
        || { echo "posix: pjdfstest skips (>) other cases than tests/posix/pjdfstest.skipped lists (<)" >&2; return 1; }
}

pjdfstest_run() { # name, whether the mount may be made read-only, patterns of cases
    local name=$1 said=$kept/pjdfstest-$1.txt code=0
    {
        sed "s/^allow_remount = .*/allow_remount = $2/" tests/posix/pjdfstest.toml
        printf '\n[dummy_auth]\nentries = [["nobody", "%s"], ["daemon", "daemon"], ["bin", "bin"]]\n' "$(id -gn nobody)"
    } > "$lab/pjdfstest-$name.toml"
    shift 2
    PATH=$lab/bin:$PATH timeout "$suite_limit" "$program" -c "$lab/pjdfstest-$name.toml" -s "$lab/other" \
        -p "$lab/plain-a/pjdfstest" "$@" > "$said" 2>&1 || code=$?
    sed -n "s/^Summary/pjdfstest $name/p" "$said"
    [ "$code" -eq 0 ] && return
    grep -A 4 -iE ' (failed|unexpected[a-z ]*)$' "$said" >&2 || tail -n 20 "$said" >&2
    echo "posix: pjdfstest ended with $code" >&2
    return 1
}

# A folder that is now one mount, now the other: whoever opens a file there by turns opens it on both.
swing() { # link, one mount, the other
    while :; do
        for side in "$2" "$3"; do
            ln -sfn "$side" "$1.next" && mv -T "$1.next" "$1"
            sleep 0.005
        done
    done
}

run_fsx() {
    local program seed mount swinging kind
    program=$(tool fsx "$fsx_version")
    cp tests/posix/fsx.toml "$lab/mapped.toml"
    sed -E 's/^(invalidate|mapread|mapwrite) = .*/\1 = 0/' tests/posix/fsx.toml > "$lab/unmapped.toml"
    for mount in plain packed; do
        ln -sfn "$lab/$mount-a" "$lab/$mount-both"
        swing "$lab/$mount-both" "$lab/$mount-a" "$lab/$mount-b" &
        swinging=$!
        for seed in $seeds; do
            for kind in mapped unmapped; do
                one_fsx "$mount-a" "$kind" "$seed"
                one_fsx "$mount-both" "$kind" "$seed"
            done
        done
        kill "$swinging"
        wait "$swinging" 2>/dev/null || true
    done
}

one_fsx() { # mount, kind, seed
    local name=fsx-$1-$2-$3 code=0
    timeout "$suite_limit" "$program" -f "$lab/$2.toml" -N "$operations" -S "$3" -P "$kept" "$lab/$1/$name" > "$kept/$name.txt" 2>&1 || code=$?
    if [ "$code" -ne 0 ]; then
        tail -n 25 "$kept/$name.txt" >&2
        echo "posix: fsx ended with $code: mount $1, $2, seed $3, $operations operations" >&2
        return 1
    fi
    rm -f "$lab/$1/$name"
    echo "fsx: $1, $2, seed $3: $operations operations"
}

# The C suite is as long as its sleeps: some minutes.
run_suites() {
    local source=${SUITES:-}/pjdfstest said=$kept/pjdfstest-c.txt
    if [ ! -f "$source/pjdfstest.c" ]; then
        echo "posix: SUITES=${SUITES:-} holds no pjdfstest. Get it with: git clone https://github.com/pjd/pjdfstest FOLDER/pjdfstest" >&2
        return 1
    fi
    cp -r "$source" "$lab/suite"
    : > "$lab/suite/config.h"
    local have=() call
    for call in LINKAT OPENAT FCHMODAT FCHOWNAT FSTATAT MKDIRAT MKFIFOAT MKNODAT READLINKAT RENAMEAT SYMLINKAT UNLINKAT \
        POSIX_FALLOCATE UTIMENSAT STRUCT_STAT_ST_ATIM STRUCT_STAT_ST_CTIM STRUCT_STAT_ST_MTIM SYS_SYSMACROS_H; do
        have+=("-DHAVE_$call")
    done
    gcc -O1 -D_GNU_SOURCE "${have[@]}" -o "$lab/suite/pjdfstest" "$lab/suite/pjdfstest.c"
    mkdir -p "$lab/plain-a/suite"
    (cd "$lab/plain-a/suite" && timeout "$((suite_limit * 4))" prove -Q -r "$lab/suite/tests") > "$said" 2>&1 \
        || { sed -n '/Test Summary/,$p' "$said" >&2; return 1; }
    tail -n 2 "$said"
}

# Tests build the programs too, with the features that dependencies have there: behind them nothing is built a second time.
if [ "$profile" = dev ]; then
    cargo test --workspace --no-run --quiet
else
    cargo build --profile "$profile" --workspace --bins --quiet
fi
lab=$(mktemp -d "${TMPDIR:-/tmp}/posix.XXXXXX")
# Other users, whom suites pretend to be, come through here.
chmod 755 "$lab"
kept=$target/posix
rm -rf "$kept"
mkdir -p "$kept"
port=$((20000 + $$ % 8000))
trap down EXIT
up
for suite in "${wanted[@]}"; do
    case "$suite" in
        pjdfstest) run_pjdfstest ;;
        fsx) run_fsx ;;
        suites) run_suites ;;
        *) sed -n 3,9p "$0" >&2; exit 2 ;;
    esac
done
