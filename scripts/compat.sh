#!/usr/bin/env bash
# Runs the live tests of the store on one server program after the other, and
# prints a table of the tests that passed, failed and were skipped. It fails if a test
# did, or if fewer servers ran than there should be.
#
#   TASKSTORE_REDIS_SERVERS   the programs, with spaces between; otherwise the one
#                             that make test uses and all of fetch-servers.sh
#   TASKSTORE_COMPAT_FETCH    of the latter only these, and not the former
#   TASKSTORE_COMPAT_RUN      a pattern of tests, as go test -run takes it
#
# A test counts if it has no subtests: parents only repeat the results of these. Tests
# that skip because the server lacks a feature are listed, and counted once more; the
# others skip on every server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset TASKSTORE_REDIS_URL # each program is started, none is used that runs

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

programs=()
if [ -n "${TASKSTORE_REDIS_SERVERS-}" ]; then
	read -r -d '' -a programs <<<"$TASKSTORE_REDIS_SERVERS" || true
	expected=${#programs[@]}
else
	names=${TASKSTORE_COMPAT_FETCH:-$(bash scripts/fetch-servers.sh --names)}
	expected=$(wc -w <<<"$names")
	if [ -z "${TASKSTORE_COMPAT_FETCH-}" ]; then
		expected=$((expected + 1))
		programs+=("$(bash scripts/ensure-redis.sh)")
	fi
	# shellcheck disable=SC2086
	mapfile -t -O "${#programs[@]}" programs < <(bash scripts/fetch-servers.sh $names)
fi

# results NAME reads the output of go test -v and prints the counts of passed,
# failed, skipped and, of the latter, those for want of a feature. It adds the names
# of tests to the files failed and lacking.
results() {
	awk -v failed="$out/failed" -v lacking="$out/lacking" -v server="$1" '
		/^=== (RUN|CONT|NAME) / { at = $3; next }
		/^ *--- (PASS|FAIL|SKIP): / { result[$3] = substr($2, 1, 4); next }
		/^ +[a-z_]+\.go:[0-9]+: / { said[at] = $0; sub(/^ +[a-z_]+\.go:[0-9]+: /, "", said[at]) }
		END {
			for (name in result)
				for (parent = name; sub(/\/[^\/]*$/, "", parent); ) {
					parents[parent] = 1
					if (result[name] == "FAIL") failing[parent] = 1
				}
			for (name in result) {
				if (name in parents && (result[name] != "FAIL" || name in failing)) continue
				count[result[name]]++
				if (result[name] == "FAIL") print server ": " name >>failed
				if (result[name] == "SKIP" && said[name] ~ /^redistest: /) {
					print server ": " name ": " substr(said[name], 12) >>lacking
					lacks++
				}
			}
			print count["PASS"] + 0, count["FAIL"] + 0, count["SKIP"] + 0, lacks + 0
		}'
}

# Tests that need the insides of the root package are in it, the others in integration.
packages=(. ./integration)
for package in "${packages[@]}"; do
	go test -c -tags integration -o "$out/$package/store.test" "$package"
done
status=0 ran=0
for program in "${programs[@]}"; do
	if ! version=$("$program" --version | sed -n 's/^\([A-Za-z]*\) server v=\([^ ]*\).*/\1 \2/p') || [ -z "$version" ]; then
		echo "compat: $program does not run" >&2
		continue
	fi
	echo "-- $version: $program"
	code=0
	begin=$SECONDS
	: >"$out/log"
	for package in "${packages[@]}"; do
		(cd "$package" && TASKSTORE_REDIS_SERVER=$program "$out/$package/store.test" -test.v -test.parallel 8 \
			-test.timeout 9m -test.run "${TASKSTORE_COMPAT_RUN:-.}") >>"$out/log" 2>&1 || code=$?
	done
	read -r passed failures skips lacks < <(results "$version" <"$out/log")
	ran=$((ran + 1))
	if [ "$code" != 0 ] || [ "$failures" != 0 ] || [ "$passed" = 0 ]; then
		status=1
		mkdir -p .servers
		mv "$out/log" ".servers/${version// /-}.log"
		echo "   exit code $code; the whole output is in .servers/${version// /-}.log"
		[ "$failures" != 0 ] || failures="?" # a panic, or the time limit, or there were no tests
	fi
	echo "$version,$passed,$failures,$skips,$lacks,$((SECONDS - begin)) s" >>"$out/table"
done

echo
for list in lacking failed; do
	if [ -s "$out/$list" ]; then
		echo "$list:"
		sort "$out/$list" | sed 's/^/   /'
		echo
	fi
done
row='%-20s %7s %7s %7s %8s %7s\n'
# shellcheck disable=SC2059
{
	printf "$row" server passed failed skipped lacking time
	[ ! -s "$out/table" ] || while IFS=, read -r -a columns; do printf "$row" "${columns[@]}"; done <"$out/table"
}
echo "$(go version | cut -d' ' -f3), $(git rev-parse --short HEAD), $(date -u +%F)"
if [ "$ran" -lt "$expected" ]; then
	echo "compat: $ran of $expected servers ran" >&2
	exit 1
fi
exit $status
