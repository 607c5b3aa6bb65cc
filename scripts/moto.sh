#!/usr/bin/env bash
# Puts moto, which speaks EC2's API, into a folder of its own with Python's venv; does nothing where it is already.
# Usage: moto.sh FOLDER
set -euo pipefail
version=5.2.5
folder="$1"
stamp="$folder/.lustre-moto-$version"
[ -e "$stamp" ] && exit 0

# Two that come at once do it one after the other.
mkdir -p "$(dirname "$folder")"
exec 9> "$folder.lock"
flock 9
[ -e "$stamp" ] && exit 0

if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
    # No command tells whether the package is there: a name that nothing has asks for it.
    "$(dirname "$0")/setup.sh" --yes python3=python3 lustre-has-no-such-command=python3-venv
fi
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-compile "moto[ec2]==$version" flask flask-cors
touch "$stamp"
