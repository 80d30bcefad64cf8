#!/usr/bin/env bash
# Clients that others wrote drive the example server, and our client drives a server that
# others wrote: a result, an error, a form, a cancel and more, over HTTP and stdio, with
# tasks in memory and in Redis.
#
#   fastmcp     FastMCP's client (Python)
#   typescript  the official TypeScript client with ext-tasks
#   go          our client, with a FastMCP server
#
# Clients that have no tasks, see plain, drive a server whose tools have a fallback, by the
# texts of its answers alone and through kill -9, with tasks in Redis:
#
#   plain-typescript  the TypeScript SDK v1
#   plain-python      the Python SDK 1.x
#   plain-go          the Go SDK with 2025-11-25
#
# A control has all of them meet a server that does nothing right: every scenario must fail.
#
# It needs Go, npm, Python 3.11 or later with venv, and a Redis server,
# TASKSTORE_REDIS_SERVER or else redis-server; what requirements.txt and package.json list, here
# and in plain, it installs into interop/.cache. Prints a line for each check and at the end "N passed,
# N failed"; exits 1 if any failed or if one is missing.
set -euo pipefail
cd "$(dirname "$0")"

# How many scenarios each client has: a client that checks less must not pass.
declare -A scenarios=([fastmcp]=7 [typescript]=7 [go]=6 [plain-typescript]=9 [plain-python]=9 [plain-go]=9)
cache=$PWD/.cache

install() {
	local wanted
	wanted=$(cat {,plain/}{requirements.txt,package.json} | cksum)
	[ "$(cat "$cache/installed" 2>/dev/null)" != "$wanted" ] || return 0
	echo "installing FastMCP, the TypeScript and Python clients and node 22 into $cache"
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		{ echo "Python 3.11 or later is missing" >&2; exit 1; }
	rm -rf "$cache"
	mkdir -p "$cache/plain"
	local dir npm
	for dir in . plain; do cp "$dir/package.json" "$cache/$dir"; done
	for dir in . plain; do
		npm install --prefix "$cache/$dir" --no-audit --no-fund --no-package-lock --loglevel=error >/dev/null
	done &
	npm=$!
	for dir in . plain; do
		python3 -m venv "$cache/$dir/venv"
		"$cache/$dir/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$dir/requirements.txt"
	done
	wait $npm
	echo "$wanted" >"$cache/installed"
}

work=$(mktemp -d)
pids=()
stop() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	pids=()
}
trap 'stop; rm -rf "$work"' EXIT

# until_there NAME PID COMMAND... waits up to 60 s for COMMAND to succeed.
until_there() {
	local name=$1 pid=$2
	shift 2
	for _ in $(seq 600); do
		"$@" && return
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	cat "$work/$name.log" >&2
	echo "$name did not start" >&2
	exit 1
}

# start NAME COMMAND... runs a server that prints its URL; sets url.
start() {
	local name=$1
	shift
	"$@" >"$work/$name.log" 2>&1 &
	pids+=($!)
	until_there "$name" $! grep -q http:// "$work/$name.log"
	url=$(sed -n 's/.* \(http:[^ ]*\)$/\1/p' "$work/$name.log" | head -n 1)
}

# Redis listens on a socket of its own: no port to find, nothing else to meet.
start_redis() {
	rm -f "$work/redis.sock"
	"${TASKSTORE_REDIS_SERVER:-redis-server}" --port 0 --unixsocket "$work/redis.sock" --save "" --dir "$work" >"$work/redis.log" 2>&1 &
	pids+=($!)
	until_there redis $! [ -S "$work/redis.sock" ]
}

# drive CLIENT NAME TARGET... has a client drive a server; NAME.out gets what it says.
drive() {
	local client=$1 out=$work/$2.out
	shift 2
	timeout 120 "$work/$client" "$@" >"$out" 2>&1 || true
}

passed=0 failed=0
# report CLIENT TRANSPORT STORE FILE prints a client's scenarios and counts them.
report() {
	local client=$1 want=${scenarios[$1]} line ok ran
	ok=$(grep -c '^[a-z]* ok$' "$4" || true)
	ran=$(grep -cE '^[a-z]* (ok$|failed: )' "$4" || true)
	[ "$ran" = "$want" ] || echo "failed: $ran scenarios ran instead of $want" >>"$4"
	while read -r line; do
		printf '%-16s %-6s %-7s %s\n' "$client" "$2" "$3" "$line"
	done <"$4"
	passed=$((passed + ok)) failed=$((failed + (ok > want ? ok - want : want - ok)))
}

# control CLIENT FILE counts a client as passed if all its scenarios failed.
control() {
	local noticed
	noticed=$(grep -c '^[a-z]* failed: ' "$2" || true)
	if [ "$noticed" = "${scenarios[$1]}" ]; then
		echo "control          $1: the defects were noticed, by $noticed scenarios"
		passed=$((passed + 1))
	else
		echo "control          $1: the defects were noticed by $noticed scenarios, not ${scenarios[$1]}"
		cat "$2"
		failed=$((failed + 1))
	fi
}

install
cp typescript_client.mjs "$cache"
cp plain/typescript_client.mjs "$cache/plain"
go -C ../examples build -o "$work/server" ./server
go build -o "$work/go" ./client
go build -o "$work/plain" ./plain/server
go build -o "$work/plain-go" ./plain/client
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$cache/venv/bin/python" "$PWD/fastmcp_client.py" >"$work/fastmcp"
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$cache/node_modules/.bin/node" "$cache/typescript_client.mjs" >"$work/typescript"
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$cache/venv/bin/python" "$PWD/fastmcp_server.py" >"$work/peer"
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$cache/plain/venv/bin/python" "$PWD/plain/python_client.py" >"$work/plain-python"
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$cache/node_modules/.bin/node" "$cache/plain/typescript_client.mjs" >"$work/plain-typescript"
chmod +x "$work"/{fastmcp,typescript,peer,plain-python,plain-typescript}

begun=$SECONDS
for store in memory redis; do
	where=()
	if [ "$store" = redis ]; then
		start_redis
		where=(-store "unix://$work/redis.sock")
	fi
	start server "$work/server" -addr 127.0.0.1:0 "${where[@]}"
	ours=$url
	start peer "$work/peer" "${where[@]/#-store/--redis}"
	theirs=$url
	drives=()
	for client in fastmcp typescript; do
		drive $client $client.http "$ours" & drives+=($!)
		drive $client $client.stdio "$work/server" -stdio "${where[@]}" & drives+=($!)
	done
	drive go go.http "$theirs" & drives+=($!)
	drive go go.stdio "$work/peer" --stdio "${where[@]/#-store/--redis}" & drives+=($!)
	clients=(fastmcp typescript go)
	if [ "$store" = redis ]; then
		clients+=(plain-typescript plain-python plain-go)
		for client in plain-typescript plain-python plain-go; do
			for transport in http stdio; do
				drive $client $client.$transport $transport "$work/plain" "${where[@]}" & drives+=($!)
			done
		done
	fi
	wait "${drives[@]}"
	for client in "${clients[@]}"; do
		for transport in http stdio; do
			report $client $transport $store "$work/$client.$transport.out"
		done
	done
	stop
done

drives=()
for client in fastmcp typescript go; do
	drive $client $client.control "$work/peer" --stdio --defect & drives+=($!)
done
start_redis
for client in plain-typescript plain-python plain-go; do
	drive $client $client.control stdio "$work/plain" -store "unix://$work/redis.sock" -defect & drives+=($!)
done
wait "${drives[@]}"
stop
for client in fastmcp typescript go plain-typescript plain-python plain-go; do
	control $client "$work/$client.control.out"
done

echo "ran for $((SECONDS - begun)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" = 140 ]
