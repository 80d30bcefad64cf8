#!/usr/bin/env bash
# Prints the path of Chromium's or Chrome's program, and installs Chromium if both are missing.
# Everything else it says goes to standard error.
#
# It installs Debian's package as root, or with sudo if CI=true; otherwise it prints the command
# to run. The package has no service. Tests start and end browsers of their own, without a window.
set -euo pipefail

say() { echo "ensure-chromium: $*" >&2; }
die() { say "$@"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# find_browser prints the absolute path of the program.
find_browser() {
	local name path names=(chromium chromium-browser google-chrome google-chrome-stable "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
	[ -z "${TASKSTORE_CHROMIUM-}" ] || names=("$TASKSTORE_CHROMIUM")
	for name in "${names[@]}"; do
		if path=$(command -v "$name"); then
			case $path in /*) ;; *) path=$PWD/$path ;; esac
			echo "$path"
			return
		fi
	done
	return 1
}

if ! browser=$(find_browser); then
	[ -z "${TASKSTORE_CHROMIUM-}" ] || die "TASKSTORE_CHROMIUM is not a program: $TASKSTORE_CHROMIUM"
	say "no Chromium found"
	command -v apt-get >/dev/null || die "install Chromium or Chrome by hand"
	if [ "$(id -u)" != 0 ]; then
		if [ "${CI-}" = true ] && sudo -n true 2>/dev/null; then
			exec sudo -n CI=true bash "$here/ensure-chromium.sh"
		fi
		die "not installing as user $(id -un). Run this once, then try again: sudo bash $here/ensure-chromium.sh"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq >&2 || say "apt-get update failed; going on"
	# Without a font a page has no text.
	apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 chromium fonts-liberation >&2 || die "the installation failed"
	browser=$(find_browser) || die "the installation has no chromium"
fi

version=$("$browser" --version 2>/dev/null) || die "$browser does not start (set TASKSTORE_CHROMIUM to another one)"
say "using $browser, $version"
echo "$browser"
