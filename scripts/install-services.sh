#!/usr/bin/env bash
# Installs what the tests start by themselves: PostgreSQL's server. Elsewhere than on Debian as root
# it only says what will be skipped. No service of the system is left running.
set -euo pipefail

have_postgres() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

if have_postgres && id postgres >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "PostgreSQL's server is missing: its tests will be skipped. Debian: apt-get install postgresql"
    exit 0
fi
echo "Installing PostgreSQL's server …"
export DEBIAN_FRONTEND=noninteractive
# The tests run a server of their own; the package must not start one.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql >/dev/null
