#!/bin/sh
# Installs the Debian packages of the programs that the tests and the comparison runs start.
#
# Quick when nothing is missing.  As root it installs what is missing with apt-get; otherwise, or where apt-get is not to be had, it
# names what it could not install and goes on: a test that needs a missing program fails with the program's name.
# The packages' own services are not started: every test starts the program it needs by itself on a free port.
set -eu

PATH="$PATH:/usr/sbin:/sbin"
missing=""
names=""

want() { # want PROGRAM PACKAGE
    if ! command -v "$1" >/dev/null 2>&1; then
        missing="$missing $2"
        names="$names $1"
    fi
}

want sipp sip-tester
want baresip baresip-core
want kamailio kamailio
want redis-server redis-server
want mosquitto mosquitto
want prometheus prometheus
want promtool prometheus
want openssl openssl
want cc gcc
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { missing="$missing postgresql"; names="$names postgres"; }
python=${PYTHON:-python3}
"$python" -c 'import ensurepip' >/dev/null 2>&1 || { missing="$missing python3-venv"; names="$names venv"; }
"$python" - >/dev/null 2>&1 <<'CHECK' || { missing="$missing python3-dev"; names="$names Python.h"; }
import pathlib, sysconfig
assert (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists()
CHECK

if [ -z "$missing" ]; then
    exit 0
fi
missing=$(echo "$missing" | tr ' ' '\n' | sort -u | tr '\n' ' ')

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "==> Not installed (needs root and apt-get):$names"
    echo "    As root:  apt-get install $missing"
    echo "    Going on without; tests that need one of them will fail and say which."
    exit 0
fi

# Debian starts services when it installs them; this file, where none is there yet, tells it not to.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT INT TERM
fi

export DEBIAN_FRONTEND=noninteractive
echo "==> Installing Debian packages: $missing"
apt-get update -q >/dev/null 2>&1 || echo "    apt-get update failed; trying with the package lists at hand"
# shellcheck disable=SC2086 # a list of packages, one word each
if ! apt-get install -y -q --no-install-recommends $missing >/tmp/cloudline-apt.$$ 2>&1; then
    echo "    Together it failed; trying one by one"
    for package in $missing; do
        if apt-get install -y -q --no-install-recommends "$package" >/tmp/cloudline-apt.$$ 2>&1; then
            echo "    installed: $package"
        else
            echo "    could not install: $package"
            tail -n 3 /tmp/cloudline-apt.$$ | sed 's/^/        /'
        fi
    done
fi
rm -f /tmp/cloudline-apt.$$
