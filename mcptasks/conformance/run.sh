#!/usr/bin/env bash
# Runs the official MCP conformance suite against the fixture server.
#
#   run.sh [memory] [sqlite] [redis] [replicas] [postgres] [control] [requirements]
#
#   memory        the tasks-* scenarios, one server in memory
#   sqlite        the same, one server over an SQLite file
#   redis         the same, one server over Redis
#   replicas      the same, three servers over one Redis, behind a round-robin proxy
#   postgres      the same, three servers over one PostgreSQL
#   control       the same scenarios against a server with a defect: must fail
#   requirements  what the suite demands of any server, for both protocol versions,
#                 compared with the SDK's server without the extension
#
# Without arguments all of them. It needs Go and npm, and for redis and replicas a
# server, TASKSTORE_REDIS_SERVER or else redis-server; Node and the suite it installs into conformance/.cache. Prints a line for
# each scenario and at the end "N passed, N failed", in checks; exits 1 if any failed.
set -euo pipefail
cd "$(dirname "$0")"

cache=$PWD/.cache
suite=0.2.0-alpha.12
scenarios=(lifecycle capability-negotiation wire-fields request-state-removal mrtr-input
	request-headers dispatch-and-envelope required-task-error mrtr-composition)
# How many checks each has: a suite that checks less must not pass.
declare -A want=([lifecycle]=9 [capability-negotiation]=5 [wire-fields]=4 [request-state-removal]=3
	[mrtr-input]=4 [request-headers]=5 [dispatch-and-envelope]=9 [required-task-error]=3 [mrtr-composition]=2)

work=$(mktemp -d)
pids=()
stop() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	pids=()
}
trap 'stop; rm -rf "$work"' EXIT

mkdir -p "$cache"
if [ "$(cat "$cache/version" 2>/dev/null)" != "$suite" ]; then
	echo "installing node 22 and the suite $suite into $cache"
	[ -f "$cache/package.json" ] || echo '{"private":true}' >"$cache/package.json"
	npm install --prefix "$cache" --no-audit --no-fund --no-save --loglevel=error \
		node@22 "@modelcontextprotocol/conformance@$suite" >/dev/null
	echo "$suite" >"$cache/version"
fi
conformance() {
	timeout 300 "$cache/node_modules/.bin/node" "$cache/node_modules/@modelcontextprotocol/conformance/dist/index.js" server "$@"
}
go build -o "$work/server" ./server
go build -o "$work/proxy" ./proxy

# start NAME COMMAND... runs a command that prints "listening on URL"; sets url.
start() {
	local name=$1
	shift
	"$@" >"$work/$name.log" 2>&1 &
	pids+=($!)
	for _ in $(seq 100); do
		url=$(sed -n 's/^listening on //p' "$work/$name.log")
		[ -n "$url" ] && return
		kill -0 "${pids[-1]}" 2>/dev/null || break
		sleep 0.1
	done
	cat "$work/$name.log" >&2
	echo "$name did not start" >&2
	exit 1
}

# Redis listens on a socket of its own: no port to find, nothing else to meet.
redis() {
	"${TASKSTORE_REDIS_SERVER:-redis-server}" --port 0 --unixsocket "$work/redis.sock" --save "" --dir "$work" >"$work/redis.log" 2>&1 &
	pids+=($!)
	for _ in $(seq 100); do
		[ -S "$work/redis.sock" ] && break
		sleep 0.1
	done
	redis_url=unix://$work/redis.sock
}

# PostgreSQL does so too. It refuses to run for root.
postgres() {
	local bin as=()
	bin=${TASKSTORE_POSTGRES_BIN:-$(bash ../../scripts/ensure-postgres.sh)}
	mkdir -p "$work/postgres"
	if [ "$(id -u)" = 0 ]; then
		as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
		chmod 711 "$work"
		chown 65534:65534 "$work/postgres"
	fi
	"${as[@]}" "$bin/initdb" -D "$work/postgres/data" -U postgres -A trust >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log" >&2; exit 1; }
	"${as[@]}" "$bin/postgres" -D "$work/postgres/data" -k "$work/postgres" -c listen_addresses= >"$work/postgres.log" 2>&1 &
	pids+=($!)
	for _ in $(seq 100); do
		[ -S "$work/postgres/.s.PGSQL.5432" ] && break
		sleep 0.1
	done
	postgres_url="postgres:///postgres?host=$work/postgres&user=postgres&migrate=true"
}

passed=0 failed=0
# results FILE sets ok and bad from the suite's last line.
results() {
	read -r ok total < <(sed -n 's/^Passed: \([0-9]*\)\/\([0-9]*\),.*/\1 \2/p' "$1" | tail -n 1) || true
	ok=${ok:-0} total=${total:-0}
}
tasks() {
	local mode=$1 s
	for s in "${scenarios[@]}"; do
		conformance --url "$url" --scenario "tasks-$s" -o "$work/out" >"$work/$s.txt" 2>&1 || true
		results "$work/$s.txt"
		local missing=$((want[$s] > total ? want[$s] - total : 0))
		local bad=$((total - ok + missing))
		printf '%-13s tasks-%-24s %d of %d\n' "$mode" "$s" "$ok" "${want[$s]}"
		if [ "$bad" != 0 ] && [ "$mode" != control ]; then
			grep -a FAILURE "$work/$s.txt" || tail -n 5 "$work/$s.txt"
		fi
		passed=$((passed + ok)) failed=$((failed + bad))
	done
}

# everything builds the SDK's own conformance server, as it is and with the extension.
everything() {
	local src
	src=$(go list -m -f '{{.Dir}}' github.com/modelcontextprotocol/go-sdk)/conformance/everything-server/main.go
	mkdir -p "$cache/everything"
	rm -f "$cache/everything/main.go"
	sed 's/ListenAndServe(\*httpAddr, handler)/ListenAndServe(*httpAddr, withTasks(server, handler))/' "$src" >"$cache/everything/main.go"
	grep -q withTasks "$cache/everything/main.go"
	cp -f server/tools.go "$cache/everything/fixture.go"
	cat >"$cache/everything/tasks.go" <<-'GO'
		package main

		import (
			"net/http"

			"github.com/modelcontextprotocol/go-sdk/mcp"

			"github.com/taskstore/taskstore"
			"github.com/taskstore/taskstore/mcptasks"
		)

		func withTasks(server *mcp.Server, h http.Handler) http.Handler {
			t, err := mcptasks.New(taskstore.NewMemoryBackend(nil), nil)
			if err == nil {
				err = t.Install(server)
			}
			if err != nil {
				panic(err)
			}
			addTools(t, server)
			return t.Handler(h)
		}

	GO
	go build -o "$work/sdk" github.com/modelcontextprotocol/go-sdk/conformance/everything-server
	go build -o "$work/sdk-tasks" "$cache/everything"
}

# free prints a port that nobody listens on.
free() {
	local port
	while port=$((20000 + RANDOM % 20000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
	echo "$port"
}

# required NAME VERSION sets ok and bad, and leaves the failures of what is scored in NAME.VERSION.
required() {
	local port plain="$work/$1.$2.txt"
	port=$(free)
	# What older protocols let a server ask of a client takes a session.
	"$work/$1" -http "127.0.0.1:$port" -stateless="$([ "$2" = 2025-11-25 ] && echo false || echo true)" >"$work/$1.log" 2>&1 &
	pids+=($!)
	until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "${pids[-1]}"; sleep 0.1; done
	conformance --url "http://127.0.0.1:$port/" --requirements "$2" -o "$work/out" 2>&1 | sed 's/\x1b\[[0-9;]*m//g' >"$plain" || true
	read -r ok bad < <(sed -n 's/^Total: \([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' "$plain") || true
	ok=${ok:-0} bad=${bad:-1}
	stop
}

# replicas STORE starts three servers behind a proxy without stickiness.
replicas() {
	local to= n
	for n in 1 2 3; do
		start "server$n" "$work/server" -addr 127.0.0.1:0 -store "$1"
		to+=${to:+,}$url
	done
	start proxy "$work/proxy" -addr 127.0.0.1:0 -to "$to"
}

for mode in "${@:-memory sqlite redis replicas postgres control requirements}"; do
	for m in $mode; do
		case $m in
		memory)
			start server "$work/server" -addr 127.0.0.1:0
			tasks memory
			;;
		sqlite)
			start server "$work/server" -addr 127.0.0.1:0 -store "sqlite:$work/tasks.db"
			tasks sqlite
			;;
		redis)
			redis
			start server "$work/server" -addr 127.0.0.1:0 -store "$redis_url"
			tasks redis
			;;
		replicas)
			redis
			replicas "$redis_url"
			tasks replicas
			;;
		postgres)
			postgres
			replicas "$postgres_url"
			tasks postgres
			;;
		control)
			before_passed=$passed before_failed=$failed
			start server "$work/server" -addr 127.0.0.1:0 -defect ack
			tasks control
			noticed=$((failed - before_failed))
			passed=$before_passed failed=$before_failed
			if [ "$noticed" -gt 0 ]; then
				echo "control       the defect was noticed, by $noticed checks"
				passed=$((passed + 1))
			else
				echo "control       the defect was NOT noticed"
				failed=$((failed + 1))
			fi
			;;
		requirements)
			everything
			for version in 2026-07-28 2025-11-25; do
				required sdk "$version"
				bare_ok=$ok bare_bad=$bad
				required sdk-tasks "$version"
				printf '%-13s %-30s %d passed, %d failed; the SDK alone %d and %d\n' requirements "$version" "$ok" "$bad" "$bare_ok" "$bare_bad"
				passed=$((passed + ok)) failed=$((failed + bad))
			done
			;;
		*)
			echo "unknown mode $m" >&2
			exit 2
			;;
		esac
		stop
		rm -rf "$work"/redis.sock "$work/postgres" "$work"/tasks.db*
	done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
