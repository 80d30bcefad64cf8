#!/usr/bin/env bash
# Runs the tests of tasks and mcptasks on SQLite and PostgreSQL. Their modules must not
# require the drivers, so a workspace and a test file more stand in for the time of the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TASKSTORE_POSTGRES_BIN=$(bash scripts/ensure-postgres.sh)
export TASKSTORE_POSTGRES_BIN
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$work" && go work init "$OLDPWD" "$OLDPWD"/{mcptasks,sqlitestore,pgstore})
cat >"$work/overlay.json" <<JSON
{"Replace": {
	"$PWD/tasks/stores_more_test.go": "$PWD/scripts/testdata/suites/tasks_stores.go",
	"$PWD/mcptasks/stores_more_test.go": "$PWD/scripts/testdata/suites/mcptasks_stores.go"
}}
JSON
cat >"$work/fleet.json" <<JSON
{"Replace": {"$PWD/mcptasks/fleet_more_test.go": "$PWD/scripts/testdata/suites/mcptasks_fleet.go"}}
JSON
export GOWORK=$work/go.work
status=0
for dir in tasks mcptasks; do
	echo "-- $dir on SQLite and PostgreSQL"
	# Those that ask for each store.
	tests=$(awk '/^func Test/ { name = $2; sub(/\(.*/, "", name) } /onEach\(t,/ { print name }' "$dir"/*_test.go | sort -u | paste -sd'|')
	(cd "$dir" && go test -overlay "$work/overlay.json" -parallel 8 -count=1 -timeout 5m -run "^($tests)\$" .) || status=1
done
for store in sqlite postgres; do
	echo "-- processes that are killed, on $store"
	(cd mcptasks && TASKSTORE_SUITE=$store go test -overlay "$work/fleet.json" -tags integration -parallel 8 -count=1 -timeout 5m \
		-run '^(TestKilledReplica|TestSuspendedReplica|TestCancelByHint|TestPushesFromAnotherReplica|TestAnswersOutliveReplicas|TestRestartOfAllReplicas|TestStoppedReplica)$' .) || status=1
done
exit $status
