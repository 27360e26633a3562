#!/bin/sh
# Finds a Python ≥ 3.11 that really starts and hands over to tools/venv.py. Usage: sh tools/venv.sh runtime|dev
# A version manager's shim can be on PATH and yet refuse to run, so each candidate is tried, not just looked up.
set -eu

for candidate in ${GATEHOUSE_PYTHON:-} python3.11 python3.12 python3.13 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        exec "$candidate" "$(dirname "$0")/venv.py" "$@"
    fi
done
echo "gatehouse: no Python 3.11 or newer was found on PATH. Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: GATEHOUSE_PYTHON=/path/to/python3.12 make run" >&2
exit 1
