#!/usr/bin/env bash
# Installs Helm (its own library, for Python) and the schemas of Kubernetes, which read what is shipped, into the tests' cache:
#   ${OPENCLAW_EDGE_TEST_CACHE:-~/.cache/openclaw-edge-tests}/shipping
# From PyPI, into a virtual environment; about 250 MB. A finished install is left alone.
set -euo pipefail

CACHE=${OPENCLAW_EDGE_TEST_CACHE:-$HOME/.cache/openclaw-edge-tests}
PACKAGES=(helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 pyyaml)

folder=$CACHE/shipping
mark=$folder/.installed
if [[ -f $mark && $(<"$mark") == "${PACKAGES[*]}" ]]; then
  exit
fi
command -v python3 >/dev/null || { echo "python3 is needed to install ${PACKAGES[*]}" >&2; exit 1; }
rm -rf "$folder"
mkdir -p "$CACHE"
echo "installing ${PACKAGES[*]} into $folder"
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "${PACKAGES[@]}"
echo "${PACKAGES[*]}" >"$mark"
