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
    scripts/setup.sh --yes g++=g++ dpkg-source=dpkg-dev
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    mkdir -p "$build/lists/partial"
    sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/*.sources > "$build/src.sources"
    options=(-o "Dir::Etc::sourcelist=$build/src.sources" -o Dir::Etc::sourceparts=- -o "Dir::State::Lists=$build/lists"
        -o APT::Sandbox::User=root)
    (cd "$build" && apt-get "${options[@]}" update -qq && apt-get "${options[@]}" source -qq fuse3)
    # Headers and a library to link with, only unpacked: nothing is installed for a program that we run once.
    (cd "$build" && apt-get -o APT::Sandbox::User=root download -qq libfuse3-dev && dpkg -x libfuse3-dev_*.deb root)
    library=$(find /lib /usr/lib -name 'libfuse3.so.3*' | head -n 1)
    if [ -z "$library" ]; then
        (cd "$build" && apt-get -o APT::Sandbox::User=root download -qq libfuse3-3 && dpkg -x libfuse3-3_*.deb root)
        library=$(find "$build/root" -name 'libfuse3.so.3.*' | head -n 1)
        cp "$library" "$tools/libfuse3.so.3"
    fi
    g++ -O2 -std=c++17 -D_FILE_OFFSET_BITS=64 -DHAVE_UTIMENSAT -DHAVE_POSIX_FALLOCATE -I"$build/root/usr/include/fuse3" \
        "$build"/fuse3-*/example/passthrough_hp.cc "$library" -pthread -ldl "-Wl,-rpath,$(cd "$tools" && pwd)" -o "$PASSTHROUGH_HP"
fi

cargo bench --bench figures
