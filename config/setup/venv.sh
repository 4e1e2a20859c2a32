#!/bin/sh
# Makes the virtual environment, also where Debian's python3-venv is missing and there is no root to install it.
# usage: venv.sh PYTHON FOLDER
set -eu
python=$1
folder=$2

if [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; $python is $("$python" --version 2>&1). Set PYTHON=/path/to/python3.11" >&2
    exit 1
}
echo "==> Making the virtual environment $folder with $python"
if "$python" -c 'import ensurepip' >/dev/null 2>&1; then
    "$python" -m venv "$folder"
    exit 0
fi
# No ensurepip: Debian keeps pip's wheel in a package of its own, which anyone may download and unpack.
"$python" -m venv --without-pip "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
(cd "$scratch" && apt-get download -q python3-pip-whl >/dev/null && dpkg -x python3-pip-whl_*.deb .) || {
    rm -rf "$folder"
    echo "Python has no venv support here. As root: apt-get install python3-venv" >&2
    exit 1
}
wheel=$(ls "$scratch"/usr/share/python-wheels/pip-*.whl)
"$folder/bin/python" "$wheel/pip" install -q --no-index "$wheel"
