#!/usr/bin/env bash
# Prints the path of a redis-server or valkey-server program, 7.0 or later, and
# installs one if both are missing. All its other output goes to standard error.
#
#   ensure-redis.sh                     finds the program, or installs it
#   ensure-redis.sh --packages NAME...  installs packages in the same way
#
# It installs as root, or with sudo if CI=true; otherwise it prints the command to run.
# It leaves no service behind: tests start and end their own servers.
set -euo pipefail

say() { echo "ensure-redis: $*" >&2; }
die() { say "$@"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# PATH often lacks these for an ordinary user.
PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin:/opt/homebrew/bin

# find_server prints the absolute path of the program: tests run in directories
# of their own.
find_server() {
	local name path names=(redis-server valkey-server)
	[ -z "${TASKSTORE_REDIS_SERVER-}" ] || names=("$TASKSTORE_REDIS_SERVER")
	for name in "${names[@]}"; do
		if path=$(command -v "$name"); then
			case $path in /*) ;; *) path=$PWD/$path ;; esac
			echo "$path"
			return
		fi
	done
	return 1
}

find_manager() {
	local name
	for name in apt-get dnf apk pacman brew; do
		if command -v "$name" >/dev/null; then
			echo "$name"
			return
		fi
	done
	return 1
}

# need_root returns if we may install. Otherwise it starts this script again with
# sudo, or prints the command to run and stops.
need_root() {
	local wanted=${*:2}
	local run="sudo bash $here/ensure-redis.sh${*:+ $*}"
	if [ "$manager" = brew ]; then # it refuses to work for root
		[ "${CI-}" != true ] || return 0
		run="brew install ${wanted:-redis}"
	elif [ "$(id -u)" = 0 ]; then
		return
	elif [ "${CI-}" = true ] && sudo -n true 2>/dev/null; then
		exec sudo -n bash "$here/ensure-redis.sh" "$@"
	fi
	say "not installing as user $(id -un). Run this once, then try again:"
	say "  $run"
	exit 1
}

install_packages() {
	say "installing with $manager: $*"
	case $manager in
	apt-get)
		export DEBIAN_FRONTEND=noninteractive
		# A new machine has no package lists. If a list cannot be had, the
		# installation decides whether that matters.
		apt-get update -qq || say "apt-get update failed; going on"
		apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
		;;
	dnf) dnf install -y "$@" ;;
	apk) apk add "$@" ;;
	pacman) pacman -Sy --needed --noconfirm "$@" ;;
	brew) brew install "$@" ;;
	esac >&2
}

# Debian starts a service on its installation unless policy-rc.d forbids it, and
# enables it for the next boot. The other systems leave it stopped and disabled.
policy=/usr/sbin/policy-rc.d

restore_policy() {
	rm -f "$policy"
	if [ -e "$policy.saved" ]; then mv "$policy.saved" "$policy"; fi
}

# without_services keeps an installation from starting services.
without_services() {
	[ "$manager" = apt-get ] || return 0
	trap restore_policy EXIT
	if [ -e "$policy" ]; then mv "$policy" "$policy.saved"; fi
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
}

# disable SERVICE keeps it from the next boot.
disable() {
	update-rc.d "$1" disable >&2
	if command -v systemctl >/dev/null; then
		systemctl --quiet disable "$1.service" >&2
	fi
}

install_redis() {
	if [ "$manager" != apt-get ]; then
		# Some distributions have replaced the one by the other.
		install_packages redis || install_packages valkey || die "the installation failed"
		return
	fi
	say "its service will be neither started nor enabled"
	without_services
	install_packages redis-server || die "the installation failed"
	disable redis-server
}

if [ "${1-}" = --packages ] || ! server=$(find_server); then
	[ -z "${TASKSTORE_REDIS_SERVER-}" ] || [ $# != 0 ] ||
		die "TASKSTORE_REDIS_SERVER is not a program: $TASKSTORE_REDIS_SERVER"
	[ $# != 0 ] || say "no redis-server or valkey-server found"
	manager=$(find_manager) || die "no package manager known here: install it by hand: ${*:-Redis 7.0 or later}"
	need_root "$@"
	if [ $# != 0 ]; then
		without_services
		install_packages "${@:2}" || die "the installation failed"
		case " $* " in *" prometheus "*) [ "$manager" != apt-get ] || disable prometheus ;; esac
		exit
	fi
	install_redis
	server=$(find_server) || die "the installation has no redis-server"
	say "installed $server"
fi

version=$("$server" --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
[ "${version%%.*}" -ge 7 ] 2>/dev/null ||
	die "$server is version ${version:-unknown}; the tests need 7.0 or later (set TASKSTORE_REDIS_SERVER to another one)"
say "using $server, version $version"
echo "$server"
