#!/usr/bin/env bash
# Runs a real OpenClaw gateway in the foreground, on loopback unless PATCH says otherwise, with its state in a folder of its own.
#   start.sh CACHE FOLDER PORT TOKEN [PATCH]
# PATCH is JSON that is laid over its config (null takes a key out).
# It has no model, no channel and no environment but what is set here, and it calls nobody.
set -euo pipefail

CACHE=$1 FOLDER=$2 PORT=$3 TOKEN=$4 PATCH=${5:-}
NODE_BIN=$CACHE/node/node_modules/node/bin
STATE=$FOLDER/gateway
mkdir -p "$STATE/home" "$STATE/state" "$STATE/tmp"

cat >"$STATE/openclaw.json" <<JSON
{
  "gateway": {
    "mode": "local",
    "port": $PORT,
    "bind": "loopback",
    "auth": { "mode": "token", "token": "$TOKEN" },
    "tailscale": { "mode": "off" }
  },
  "update": { "checkOnStart": false, "auto": { "enabled": false } },
  "telemetry": { "enabled": false },
  "models": { "catalogRefresh": { "enabled": false } },
  "discovery": { "mdns": { "mode": "off" } },
  "agents": { "defaults": { "workspace": "$STATE/workspace" } },
  "logging": { "file": "$STATE/openclaw.log" }
}
JSON

if [[ -n $PATCH ]]; then
  "$NODE_BIN/node" -e '
    const fs = require("fs"), [file, patch] = process.argv.slice(1);
    const over = (base, patch) => {
      for (const [key, value] of Object.entries(patch)) {
        if (value === null) delete base[key];
        else if (typeof value === "object" && !Array.isArray(value)) base[key] = over(base[key] ?? {}, value);
        else base[key] = value;
      }
      return base;
    };
    fs.writeFileSync(file, JSON.stringify(over(JSON.parse(fs.readFileSync(file, "utf8")), JSON.parse(patch))));
  ' "$STATE/openclaw.json" "$PATCH"
fi

cd "$STATE"
exec env -i \
  PATH="$NODE_BIN:/usr/bin:/bin" HOME="$STATE/home" TMPDIR="$STATE/tmp" LANG=C.UTF-8 NO_COLOR=1 \
  OPENCLAW_HOME="$STATE/home" OPENCLAW_STATE_DIR="$STATE/state" OPENCLAW_CONFIG_PATH="$STATE/openclaw.json" \
  OPENCLAW_OFFLINE=1 OPENCLAW_TELEMETRY=0 DO_NOT_TRACK=1 OPENCLAW_NO_AUTO_UPDATE=1 OPENCLAW_NO_RESPAWN=1 \
  OPENCLAW_DISABLE_BONJOUR=1 OPENCLAW_LOAD_SHELL_ENV=0 OPENCLAW_SKIP_CHANNELS=1 \
  OPENCLAW_SKIP_GMAIL_WATCHER=1 OPENCLAW_SKIP_BROWSER_CONTROL_SERVER=1 OPENCLAW_SKIP_STARTUP_MODEL_PREWARM=1 \
  "$NODE_BIN/node" "$CACHE/openclaw/node_modules/openclaw/openclaw.mjs" gateway run --port "$PORT"
