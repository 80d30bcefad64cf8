#!/usr/bin/env bash
# Changes mcptasks and tasks in one place at a time and reports which changes
# their tests notice: https://gremlins.dev. It takes hours; the result is a report
# and no verdict.
#
#   mutants.sh                          both packages
#   mutants.sh mcptasks tasks/wait.go   one package, and one file of the other
#
# MUTANTS_WORKERS is the number of mutants that are tested side by side: 1 unless set.
# More than half of the processors make tests fail by their haste, which looks like a
# mutant that was killed.
# MUTANTS_TIMEOUT is the time that one mutant has, in times of all tests: 6 unless set.
#
# Tests with the tag integration do not run. Prints every mutant as it is tested,
# then those that lived, timed out or are in code that no test reaches, and the
# number of each kind. Exits 1 only without a report: a test fails without any mutant,
# say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
gremlins=github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/bin"
GOBIN=$work/tool go install "$gremlins"
# gremlins tests with this go, which changes four things. To gremlins a mutant that
# does not compile is one that was killed: go test fails with status 1 either way,
# and gremlins asks for 2. A coverage profile has no block for the conditions of a
# switch, nor for constants: gremlins would leave them out. Tests that only wait
# wait side by side. And the quick ones come first, since most mutants meet one of
# them: the slow ones, a sixth, take four fifths of the time.
cat >"$work/bin/go" <<SHIM
#!/bin/bash
go=$(command -v go) slow=\$(cat "$work/slow")
if [ "\$1" = test ] && [[ " \$* " != *" -coverprofile "* ]]; then
	"\$go" test -c -gcflags '-N -l' -ldflags '-s -w' -o mutant.test . || exit 2
	./mutant.test -test.failfast -test.parallel 16 -test.timeout 60s -test.skip "^(\$slow)\$" || exit 1
	./mutant.test -test.failfast -test.parallel 16 -test.run "^(\$slow)\$" || exit 1
	exit 0
fi
"\$go" "\$@" || exit
while [ \$# -gt 1 ]; do
	[ "\$1" != -coverprofile ] || bash "$work/bin/fill" "\$2"
	shift
done
SHIM
# fill marks the code between the blocks of a profile as covered.
cat >"$work/bin/fill" <<'FILL'
sed 1d "$1" | sort -t: -k1,1 -k2V | awk -F'[:, ]' '
	$1 != file { if (file) print file ":" end ",999999.1 1 1"; file = $1; end = "1.1"; line = column = 1 }
	{
		print file ":" end "," $2 " 1 1"
		split($3, at, ".")
		if (at[1] > line || at[1] == line && at[2] > column) { end = $3; line = at[1]; column = at[2] }
	}
	END { if (file) print file ":" end ",999999.1 1 1" }' >"$1.gaps"
cat "$1.gaps" >>"$1"
FILL
chmod +x "$work/bin/go"
# A mutant may ask for memory in an endless loop.
ulimit -v $((16 << 20)) 2>/dev/null || true

# Each worker gets a copy of the files that the two packages need, away from here: a
# change of the code meanwhile changes no mutant.
git ls-files -co --exclude-standard -z -- '*.go' go.mod go.sum mcptasks/go.mod mcptasks/go.sum '*.md' '*testdata*' \
	':!bench' ':!torture' ':!examples' ':!mcptasks/conformance' ':!mcptasks/interop' ':!mcptasks/examples' |
	tar --null -T - -cf - | tar -xf - -C "$work" --one-top-level=code
cd "$work/code"
# gremlins copies one module only, so the two become one.
# shellcheck disable=SC2046 # a list of flags
go mod edit $(sed -nE 's/^(require )?\s*([a-z0-9.]+\.[^ ]+) (v[^ ]+).*/-require=\2@\3/p' mcptasks/go.mod) \
	-droprequire=github.com/taskstore/taskstore
cat mcptasks/go.sum >>go.sum
rm mcptasks/go.mod mcptasks/go.sum

# mutants PACKAGE [FILE...] tests the mutants of a package, or of some of its files.
mutants() {
	local package=$1 except=() f name
	shift
	if [ $# != 0 ]; then
		for f in "$package"/*.go; do
			name=${f##*/}
			[[ " $* " == *" $name "* ]] || except+=(-E "^${name//./\\.}\$")
		done
	fi
	echo "== $package${*:+: $*}"
	go test -vet=off -count=1 -json "./$package" >"$work/tests" || { grep -F '"Output"' "$work/tests"; exit 1; }
	sed -nE 's/.*"Action":"pass".*"Test":"(\w+)[^"]*","Elapsed":(0\.[3-9]|[1-9]).*/\1/p' "$work/tests" | sort -u | paste -sd '|' >"$work/slow"
	PATH=$work/bin:$PATH GOFLAGS="${GOFLAGS-} -vet=off" "$work/tool/gremlins" unleash \
		--workers "${MUTANTS_WORKERS:-1}" --timeout-coefficient "${MUTANTS_TIMEOUT:-6}" "${except[@]}" "./$package" |
		tee "$work/$package.txt" || true
	grep -qE '^(Mutator coverage|No results)' "$work/$package.txt" || { echo "no report of $package"; exit 1; }
}

summary() {
	local package=$1 kind
	echo
	echo "== $package: mutants that the tests did not kill"
	for kind in LIVED 'TIMED OUT' 'NOT COVERED'; do
		sed -n "s|^ *$kind \([A-Z_]*\) at \(.*\)|$kind\t$package/\2\t\1|p" "$work/$package.txt" | sort -t: -k1,1 -k2,2n -k3,3n
	done
	grep -E '^(Mutation testing|Killed|Timed out|Test efficacy|Mutator coverage|No results)' "$work/$package.txt"
}

[ $# != 0 ] || set -- mcptasks tasks
declare -A files=()
for arg; do
	case $arg in
	mcptasks | tasks) files[$arg]+=" " ;;
	mcptasks/*.go | tasks/*.go)
		[ -f "$arg" ] || { echo "no such file: $arg"; exit 1; }
		files[${arg%/*}]+=" ${arg##*/}"
		;;
	*)
		echo "not mcptasks, tasks or a file of theirs: $arg"
		exit 1
		;;
	esac
done
for package in mcptasks tasks; do
	# shellcheck disable=SC2086 # a list of names
	[ -z "${files[$package]-}" ] || mutants "$package" ${files[$package]}
done
for package in mcptasks tasks; do
	[ -z "${files[$package]-}" ] || summary "$package"
done
