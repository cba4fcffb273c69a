#!/bin/sh
# Sets up dicomd on Debian or Ubuntu (Python >= 3.11) and runs it, or its tests.
#   sh etc/quickstart.sh serve    the server on http://127.0.0.1:8989/dicom-web and DICOMD@127.0.0.1:11112, with sample studies
#                                and the well-known colour palettes
#   sh etc/quickstart.sh test     linters, types and the whole test suite
# Installs what is missing: Debian packages (through sudo unless run as root), Python packages into ./.venv.
set -eu
cd "$(dirname "$0")/.."
venv=${DICOMD_VENV:-.venv}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        echo "please run as root: $*" >&2
        exit 1
    fi
}

# packages NAME...: installs those Debian packages that are not there yet
packages() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    as_root apt-get update -q
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

# Debian's own build is tried first: it is made with profile-guided optimisation, which many others are not, and runs a server
# half as fast again.
new_enough() {
    for candidate in "${PYTHON:-/usr/bin/python3}" python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed" >&2
    exit 1
}

environment() {
    command -v python3 >/dev/null || packages python3
    interpreter=$(new_enough)
    if [ ! -x "$venv/bin/pip" ]; then
        "$interpreter" -c 'import ensurepip' 2>/dev/null || packages python3-venv
        "$interpreter" -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$1"
}

serve() {
    environment .
    samples=$("$venv/bin/python" -c 'import pydicom.data as d; print(d.DATA_ROOT + "/test_files")')
    "$venv/bin/python" -m dicomd import "$samples"/CT_small.dcm "$samples"/MR_small.dcm "$samples"/examples_*.dcm \
        "$samples"/dicomdirtests/77654033 "$samples"/dicomdirtests/98892003
    "$venv/bin/python" -m dicomd palettes
    echo "Try: curl -s http://127.0.0.1:8989/dicom-web/studies, curl -s http://127.0.0.1:8989/dicom-web/color-palettes"
    exec "$venv/bin/twistd" -n dicomd
}

check() {
    packages dcmtk
    environment ".[test]"
    "$venv/bin/ruff" check .
    "$venv/bin/ruff" format --check .
    "$venv/bin/mypy"
    "$venv/bin/python" -m twisted.trial -j2 tests
}

case ${1:-} in
    serve) serve ;;
    test) check ;;
    *)
        sed -n 's/^# \{0,1\}//; 2,6p' "$0" >&2
        exit 2
        ;;
esac
