#!/usr/bin/env bash
# Installs the senders' own libraries, with which tests sign webhooks, into the tests' cache beside the gateway:
#   ${OPENCLAW_EDGE_TEST_CACHE:-~/.cache/openclaw-edge-tests}/senders
# From npm; about 75 MB. A finished install is left alone.
set -euo pipefail

CACHE=${OPENCLAW_EDGE_TEST_CACHE:-$HOME/.cache/openclaw-edge-tests}
PACKAGES=(standardwebhooks@1.1.1 svix@2.5.0 stripe@23.1.0 @octokit/webhooks-methods@6.0.0
  @slack/bolt@5.1.0 twilio@6.2.0 http-message-signatures@1.0.6)

folder=$CACHE/senders
mark=$folder/.installed
if [[ -f $mark && $(<"$mark") == "${PACKAGES[*]}" ]]; then
  exit
fi
command -v npm >/dev/null || { echo "npm is needed to install the senders' libraries" >&2; exit 1; }
rm -rf "$folder"
mkdir -p "$folder"
echo '{ "private": true }' >"$folder/package.json"
echo "installing ${PACKAGES[*]} into $folder"
(cd "$folder" && npm install --no-audit --no-fund --no-progress --loglevel=error "${PACKAGES[@]}")
echo "${PACKAGES[*]}" >"$mark"
