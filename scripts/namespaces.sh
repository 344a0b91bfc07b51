#!/bin/sh
# Several hosts on one Linux machine: network namespaces, each with its own interfaces, addresses and
# routes, joined by virtual cables (veth). Needs root and iproute2.
#
#   scripts/namespaces.sh up            makes the hosts hub, a and b
#   scripts/namespaces.sh run a CMD…    runs a command on a
#   scripts/namespaces.sh cut a         pulls a's cable
#   scripts/namespaces.sh mend a        plugs it in again
#   scripts/namespaces.sh down          ends the hosts
#
#                 hub 10.91.0.1
#       10.91.1.1 |           | 10.91.2.1
#       10.91.1.2 a           b 10.91.2.2
#
# hub forwards between a and b. LABS_HOSTS (default: labs) is the first part of the namespaces' names,
# so that two such networks can be there at once.
set -eu

name=${LABS_HOSTS:-labs}
usage() { sed -n '2,16s/^#//p' "$0" >&2; exit 2; }
[ $# -gt 0 ] || usage
action=$1
shift

cable() { # HOST NUMBER: from the hub to a host
    ip link add "to-$1" netns "$name-hub" type veth peer name eth0 netns "$name-$1"
    ip -n "$name-hub" addr add "10.91.$2.1/24" dev "to-$1"
    ip -n "$name-hub" link set "to-$1" up
    ip -n "$name-$1" addr add "10.91.$2.2/24" dev eth0
    ip -n "$name-$1" link set eth0 up
    ip -n "$name-$1" route add default via "10.91.$2.1"
}

case $action in
up)
    for host in hub a b; do
        ip netns add "$name-$host"
        ip -n "$name-$host" link set lo up
    done
    ip -n "$name-hub" addr add 10.91.0.1/32 dev lo
    cable a 1
    cable b 2
    ip netns exec "$name-hub" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    ;;
run)
    [ $# -gt 1 ] || usage
    host=$1
    shift
    exec ip netns exec "$name-$host" "$@"
    ;;
cut | mend)
    [ $# -eq 1 ] || usage
    if [ "$action" = cut ]; then to=down; else to=up; fi
    ip -n "$name-hub" link set "to-$1" "$to"
    ;;
down)
    for host in hub a b; do
        ip netns del "$name-$host" 2>/dev/null || true
    done
    ;;
*) usage ;;
esac
