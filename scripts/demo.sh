#!/usr/bin/env bash
# The tour: a folder of real data becomes a bucket, a cluster is planned and applied, its mount is looked at.
# Usage: demo.sh up [DATA] | demo.sh down         everything lives below $LUSTRE_DEMO (default: ./demo)
set -euo pipefail
cd "$(dirname "$0")/.."

demo=${LUSTRE_DEMO:-$PWD/demo}
target=${CARGO_TARGET_DIR:-target}
profile=${LUSTRE_DEMO_PROFILE:-release}
[ "$profile" = dev ] && folder=debug || folder=$profile
case "$target" in /*) ;; *) target=$PWD/$target ;; esac
lustre=$target/$folder/lustre

bold() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }
spec() { "$lustre" "-chdir=$demo" "$@"; }
run_spec() { run "$lustre" "-chdir=$demo" "$@"; }

default_data() {
    local sysroot
    sysroot=$(rustc --print sysroot)
    for candidate in "$sysroot/share/doc/rust/html" "$sysroot" /usr/share/doc; do
        [ -d "$candidate" ] && { echo "$candidate"; return; }
    done
    echo "demo: no folder of real data found; say DATA=/some/folder" >&2
    exit 1
}

build() {
    bold "Building ($profile)"
    cargo build --profile "$profile" --bins
}

up() {
    local source=${1:-}
    [ -n "$source" ] || source=$(default_data)
    [ -d "$source" ] || { echo "demo: $source is not a folder" >&2; exit 1; }
    build
    mkdir -p "$demo"
    # What was edited since stays.
    cp -n examples/quickstart/*.hcl "$demo/"

    # The bucket gets exports too, so the demo works on a copy of the data; hard links make it cheap where they may.
    if [ ! -d "$demo/bucket" ]; then
        bold "Copying $source into $demo/bucket: the bucket's folder, exports will land there"
        cp -a "$source" "$demo/bucket.part"
        mv "$demo/bucket.part" "$demo/bucket"
    fi
    printf 'root = "%s"\n' "$demo" > "$demo/demo.auto.vars.hcl"
    echo "$(find "$demo/bucket" -type f | wc -l) files, $(du -sh "$demo/bucket" | cut -f1)"

    bold "What would be done"
    run_spec plan
    bold "Doing it"
    SECONDS=0
    run_spec apply -auto-approve
    echo "applied in ${SECONDS} s"
    tour
}

tour() {
    local mnt=$demo/mnt sample large
    bold "The bucket's objects are files"
    run ls -ln "$mnt/data" | sed -n 1,12p
    sample=$(cd "$demo/bucket" && find . -type f -size +20k -size -2000k | sort | sed -n 7p || true)
    sample=${sample:-$(cd "$demo/bucket" && find . -type f -size +0 | sort | sed -n 1p)}
    sample=${sample#./}
    bold "One that has no local bytes yet, before and after it is read"
    run "$lustre" fs hsm_state "$mnt/data/$sample"
    run sha256sum "$mnt/data/$sample" "$demo/bucket/$sample"
    run "$lustre" fs hsm_state "$mnt/data/$sample"

    bold "A large file, striped over the object targets"
    large=$mnt/data/large.bin
    run dd if=/dev/urandom of="$large" bs=1M count=256 conv=fsync status=none
    run "$lustre" fs getstripe "$large"

    bold "It is exported when it is closed; the object carries FSx's metadata keys"
    for _ in $(seq 600); do [ -s "$demo/bucket/large.bin" ] && break; sleep 0.1; done
    run cmp "$large" "$demo/bucket/large.bin"
    show_metadata large.bin
    run_spec status
    cat <<TEXT

Try next:
    ls $mnt/data                                    the file system
    $lustre fs df -h $mnt                           its targets
    mkdir $mnt/wide && $lustre fs setstripe -c 4 -S 4M $mnt/wide
                                                    a directory whose files are striped over four targets
    edit $demo/main.hcl: targets_per_host = 6, then $lustre -chdir=$demo apply
    make demo-destroy                               removes all of it
TEXT
}

# Asks the bucket itself for the object's metadata, as any S3 client would.
show_metadata() {
    local keys=$demo/agent/credentials/data endpoint
    endpoint=$(spec output -raw bucket)
    command -v curl >/dev/null || { echo "(curl is missing: HEAD $endpoint/data/$1 shows its metadata)"; return; }
    echo "HEAD $endpoint/data/$1"
    curl -sI --aws-sigv4 "aws:amz:us-east-1:s3" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" \
        --user "$(sed -n 's/^aws_access_key_id *= *//p' "$keys"):$(sed -n 's/^aws_secret_access_key *= *//p' "$keys")" \
        "$endpoint/data/$1" | grep -iE '^(HTTP|content-length|etag|x-amz-meta)'
}

down() {
    [ -x "$lustre" ] || build
    if [ -f "$demo/main.hcl" ]; then
        run_spec destroy -auto-approve "-allow-data-loss=cluster.*"
    fi
    rm -rf --one-file-system "$demo"
    echo "demo: nothing is left"
}

case "${1:-up}" in
    up) up "${2:-}" ;;
    down) down ;;
    *) sed -n 2,3p "$0" >&2; exit 2 ;;
esac
