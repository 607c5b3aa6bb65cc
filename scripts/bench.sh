#!/usr/bin/env bash
# Figures of this machine: builds libfuse's pass-through beside our release build and measures both in one run.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${LUSTRE_BENCH_TOOLS:-target/bench-tools}
mkdir -p "$tools"
export PASSTHROUGH_HP="$PWD/$tools/passthrough_hp"
case "$tools" in /*) export PASSTHROUGH_HP="$tools/passthrough_hp" ;; esac

if [ ! -x "$PASSTHROUGH_HP" ]; then
    # passthrough_hp is an example in Debian's fuse3 source package; no binary package has it.
    scripts/setup.sh --yes g++=g++ pkg-config=pkg-config dpkg-source=dpkg-dev
    [ -e /usr/include/fuse3/fuse.h ] || apt-get install -y --no-install-recommends libfuse3-dev
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    mkdir -p "$build/lists/partial"
    sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/*.sources > "$build/src.sources"
    options=(-o "Dir::Etc::sourcelist=$build/src.sources" -o Dir::Etc::sourceparts=- -o "Dir::State::Lists=$build/lists"
        -o APT::Sandbox::User=root)
    (cd "$build" && apt-get "${options[@]}" update -qq && apt-get "${options[@]}" source -qq fuse3)
    # shellcheck disable=SC2046
    g++ -O2 -std=c++17 -DHAVE_UTIMENSAT -DHAVE_POSIX_FALLOCATE "$build"/fuse3-*/example/passthrough_hp.cc \
        $(pkg-config fuse3 --cflags --libs) -o "$PASSTHROUGH_HP"
fi

cargo bench --bench figures
