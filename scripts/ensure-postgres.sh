#!/usr/bin/env bash
# Prints the directory of PostgreSQL's programs (initdb, postgres, pg_basebackup), version 14
# or later, and sees to it that pgbouncer is there. It installs the missing ones. All its other
# output goes to standard error.
#
# It installs as root, or with sudo if CI=true; otherwise it prints the command to run. It leaves
# no service behind: tests start and end their own servers.
set -euo pipefail

say() { echo "ensure-postgres: $*" >&2; }
die() { say "$@"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# complete tells whether a directory has all programs: a link to one of them may stand alone.
complete() { [ -x "$1/initdb" ] && [ -x "$1/postgres" ] && [ -x "$1/pg_basebackup" ]; }

# find_bin prints the directory of the programs: the one that is named, that of PATH, or
# that of the newest version in the usual places.
find_bin() {
	local dir path dirs=()
	if [ -n "${TASKSTORE_POSTGRES_BIN-}" ]; then
		complete "$TASKSTORE_POSTGRES_BIN" || die "TASKSTORE_POSTGRES_BIN lacks initdb, postgres or pg_basebackup: $TASKSTORE_POSTGRES_BIN"
		echo "$TASKSTORE_POSTGRES_BIN"
		return
	fi
	if path=$(command -v initdb); then
		dirs=("$(dirname "$path")" "$(dirname "$(readlink -f "$path")")")
	fi
	for dir in "${dirs[@]}" $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin /opt/homebrew/opt/postgresql@*/bin 2>/dev/null | sort -rV); do
		if complete "$dir"; then
			echo "$dir"
			return
		fi
	done
	return 1
}

missing=()
find_bin >/dev/null || missing+=(postgresql)
PATH=$PATH:/usr/sbin:/usr/local/sbin command -v pgbouncer >/dev/null || missing+=(pgbouncer)

if [ ${#missing[@]} != 0 ]; then
	say "not found: ${missing[*]}"
	command -v apt-get >/dev/null || die "install PostgreSQL 14 or later and PgBouncer by hand"
	if [ "$(id -u)" != 0 ]; then
		if [ "${CI-}" = true ] && sudo -n true 2>/dev/null; then
			exec sudo -n CI=true bash "$here/ensure-postgres.sh"
		fi
		die "not installing as user $(id -un). Run this once, then try again: sudo bash $here/ensure-postgres.sh"
	fi
	# Debian makes a cluster and starts services on the installation unless it is told not to.
	mkdir -p /etc/postgresql-common/createcluster.d
	echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/taskstore.conf
	policy=/usr/sbin/policy-rc.d
	restore_policy() {
		rm -f "$policy" /etc/postgresql-common/createcluster.d/taskstore.conf
		if [ -e "$policy.saved" ]; then mv "$policy.saved" "$policy"; fi
	}
	trap restore_policy EXIT
	if [ -e "$policy" ]; then mv "$policy" "$policy.saved"; fi
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq >&2 || say "apt-get update failed; going on"
	apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}" >&2 || die "the installation failed"
	for service in postgresql pgbouncer; do
		update-rc.d "$service" disable >&2 2>/dev/null || true
		if command -v systemctl >/dev/null; then
			systemctl --quiet disable "$service.service" >&2 2>/dev/null || true
		fi
	done
fi

bin=$(find_bin) || die "the installation has no initdb"
version=$("$bin/postgres" --version | sed -n 's/[^0-9]*\([0-9]*\).*/\1/p')
[ "${version:-0}" -ge 14 ] || die "$bin has version ${version:-unknown}; the tests need 14 or later (set TASKSTORE_POSTGRES_BIN to another one)"
say "using $bin, version $version"
echo "$bin"
