#!/bin/sh
# Installs what the lab needs on a Debian host, if it is missing; with "bench" also what the comparison runs on the host itself.
set -eu

[ "$(id -u)" = 0 ] || { echo "the lab needs root: it makes network namespaces and a root file system for its machines" >&2; exit 1; }
[ -e /dev/net/tun ] || { echo "the lab needs /dev/net/tun (modprobe tun), which this machine does not have" >&2; exit 1; }

# QEMU before 8 miscompiles cmpxchg16b under emulation: the guests' kernels die within minutes.
new_enough() {
	v=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p')
	[ -n "$v" ] && [ "$v" -ge 8 ]
}

need=
want() { command -v "$1" >/dev/null || need="$need $2"; }
want mmdebstrap mmdebstrap
want qemu-img qemu-utils
want ip iproute2
want nft nftables
want mkfs.ext4 e2fsprogs
want cpio cpio
want zstd zstd
want xz xz-utils
if [ "${1:-}" = bench ]; then
	[ -e /usr/bin/aws ] || need="$need awscli" # the distribution's: what else is called so may be anything
	want dig bind9-dnsutils
	[ -e /usr/lib/ocf/resource.d/heartbeat/aws-vpc-route53 ] || need="$need resource-agents"
fi
[ -n "$need" ] || ! new_enough || exit 0
command -v apt-get >/dev/null || { echo "missing:$need qemu-system-x86 (8 or newer); install them by hand: this is no Debian" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
[ -z "$need" ] || apt-get install -y -qq --no-install-recommends $need
new_enough && exit 0
if apt-cache policy qemu-system-x86 | grep -q '^  Candidate: 1:\([89]\|[1-9][0-9]\)\.'; then
	apt-get install -y -qq --no-install-recommends qemu-system-x86 qemu-utils
	exit 0
fi

# An older Debian has it in its backports. They are asked once and not left in the host's sources.
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mirror=$(awk '/^URIs/ { print $2; exit }' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" { for (i = 2; i < NF; i++) if ($i ~ /^http/) { print $i; exit } }' /etc/apt/sources.list)
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
cp /etc/apt/sources.list.d/*.sources "$parts/" 2>/dev/null || cp /etc/apt/sources.list "$parts/base.list"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite-backports main" >"$parts/backports.list"
apt="apt-get -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$parts"
$apt update -qq
$apt install -y -qq --no-install-recommends -t "$suite-backports" qemu-system-x86 qemu-utils
new_enough || { echo "no QEMU 8 or newer to be had: $(qemu-system-x86_64 --version 2>&1 | head -1)" >&2; exit 1; }
