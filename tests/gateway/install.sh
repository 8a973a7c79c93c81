#!/usr/bin/env bash
# Installs a real OpenClaw gateway, and the Node that it runs on, into the tests' cache:
#   ${OPENCLAW_EDGE_TEST_CACHE:-~/.cache/openclaw-edge-tests}/{node,openclaw}
# Both come from npm (any npm will do to fetch them). About 0.9 GB. A finished install is left alone.
set -euo pipefail

NODE_VERSION=24
OPENCLAW_VERSION=2026.9.6
CACHE=${OPENCLAW_EDGE_TEST_CACHE:-$HOME/.cache/openclaw-edge-tests}

# fetch FOLDER PACKAGE@VERSION: one folder a package, marked when it is whole.
fetch() {
  local folder=$CACHE/$1 package=$2
  local mark=$folder/.installed
  if [[ -f $mark && $(<"$mark") == "$package" ]]; then
    return
  fi
  rm -rf "$folder"
  mkdir -p "$folder"
  echo '{ "private": true }' >"$folder/package.json"
  echo "installing $package into $folder"
  (cd "$folder" && npm install --no-audit --no-fund --no-progress --loglevel=error "$package")
  echo "$package" >"$mark"
}

command -v npm >/dev/null || { echo "npm is needed to install the gateway" >&2; exit 1; }
fetch node "node@$NODE_VERSION"
export PATH="$CACHE/node/node_modules/node/bin:$PATH"
fetch openclaw "openclaw@$OPENCLAW_VERSION"
echo "OpenClaw $OPENCLAW_VERSION on Node $(node --version) in $CACHE"
