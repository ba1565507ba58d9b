#!/usr/bin/env bash
# Installs what the tests start by themselves: the servers of PostgreSQL and Redis, Prometheus and
# its Alertmanager, nginx, Chromium for the console; and wrk for the bench.
# Elsewhere than on Debian as root it only says what will be skipped. No service of the system is
# left running.
set -euo pipefail

missing=()
if ! { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; } ||
    { [ "$(id -u)" = 0 ] && ! id postgres >/dev/null 2>&1; }; then
    missing+=(postgresql)
fi
command -v prometheus >/dev/null || missing+=(prometheus)
command -v prometheus-alertmanager >/dev/null || missing+=(prometheus-alertmanager)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v chromium >/dev/null || missing+=(chromium)
command -v wrk >/dev/null || missing+=(wrk)
command -v nginx >/dev/null || missing+=(nginx-light)
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Missing: ${missing[*]}. Their tests will be skipped (Debian: apt-get install ${missing[*]})."
    exit 0
fi
echo "Installing ${missing[*]} …"
export DEBIAN_FRONTEND=noninteractive
# The tests run servers of their own; the packages must not start any.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
