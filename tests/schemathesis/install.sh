#!/usr/bin/env bash
# Installs schemathesis, which tests the store against its OpenAPI document, into the tests' cache:
#   ${OPENCLAW_EDGE_TEST_CACHE:-~/.cache/openclaw-edge-tests}/schemathesis
# From PyPI, into a virtual environment; about 60 MB. A finished install is left alone.
set -euo pipefail

CACHE=${OPENCLAW_EDGE_TEST_CACHE:-$HOME/.cache/openclaw-edge-tests}
PACKAGE=schemathesis==4.32.5

folder=$CACHE/schemathesis
mark=$folder/.installed
if [[ -f $mark && $(<"$mark") == "$PACKAGE" ]]; then
  exit
fi
command -v python3 >/dev/null || { echo "python3 is needed to install schemathesis" >&2; exit 1; }
rm -rf "$folder"
mkdir -p "$CACHE"
echo "installing $PACKAGE into $folder"
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "$PACKAGE"
echo "$PACKAGE" >"$mark"
