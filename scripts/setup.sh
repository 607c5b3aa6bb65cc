#!/usr/bin/env bash
# Finds what building, testing or the demo needs and is missing; installs it on Debian and Ubuntu, or prints the command.
# Usage: setup.sh [--yes] TOOL=PACKAGE…    asks before it installs, unless --yes or CI is set.
set -euo pipefail

assume_yes=${CI:+yes}
if [ "${1:-}" = "--yes" ]; then assume_yes=yes; shift; fi

if ! command -v cargo >/dev/null; then
    echo "setup: Rust is missing. Install it with:" >&2
    echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
    exit 1
fi

missing=()
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
[ "$(id -u)" -eq 0 ] || install=(sudo "${install[@]}")
if ! command -v apt-get >/dev/null; then
    echo "setup: missing: ${missing[*]}. Install them with this system's package manager, then try again." >&2
    exit 1
fi
if [ "$assume_yes" != yes ]; then
    if [ ! -t 0 ]; then
        echo "setup: missing: ${missing[*]}. Install them with:" >&2
        echo "    ${install[*]}" >&2
        exit 1
    fi
    read -r -p "setup: ${missing[*]} missing. Run \"${install[*]}\" now? [y/N] " answer
    case "$answer" in y | Y | yes) ;; *) exit 1 ;; esac
fi
update=(apt-get update -qq)
[ "$(id -u)" -eq 0 ] || update=(sudo "${update[@]}")
"${update[@]}"
DEBIAN_FRONTEND=noninteractive "${install[@]}"
