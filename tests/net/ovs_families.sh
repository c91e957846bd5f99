#!/bin/sh
# A node with an IPv4 and an IPv6 underlay sends to either by its one tunnel port; nodes that have
# one of them each cannot send to one another, and say so.
#
#      hv1 (10.0.0.1, fd00::1)    hv2 (10.0.0.2)    hv3 (fd00::3)
#       a                          b                 c
# shellcheck shell=dash source=../support/net/lib.sh
PLANE=ovs
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

tells() { xtr_json "$1" '.problems[]' status | grep -q "$2"; }

scene_open
server_open
ctl network add red >/dev/null
RLOCS='"10.0.0.1", "fd00::1"' xtr_open hv1 1
xtr_open hv2 2
FAMILY=6 xtr_open hv3 3
n=0
for v in a b c; do
    n=$((n + 1))
    vm $v hv$n 02:00:00:00:00:0$n 192.168.7.$n fd07::$n
    vm_attach $v hv$n red
done
for n in 1 2 3; do soon "hv$n has the whole map" xtr_is_synced hv$n; done

for pair in "a 2 4" "b 1 4" "a 3 6" "c 1 6"; do
    # shellcheck disable=SC2086 # three words
    set -- $pair
    capture_start "$1$2" hv1 "ip$([ "$3" = 4 ] || echo 6) and udp dst port 4789"
    ping_well "$1" "192.168.7.$2"
    ping_well "$1" "fd07::$2"
    soon "the tunnel is IPv$3" capture_sees "$1$2" 'VXLAN.*vni'
    capture_stop "$1$2"
done
shown "a node with both addresses and nodes with one reach each other"

soon "hv2 says that hv3 is out of reach" tells hv2 'node hv3 has no IPv4 RLOC'
soon "hv3 says that hv2 is out of reach" tells hv3 'node hv2 has no IPv6 RLOC'
must "hv1 has nothing to tell" not tells hv1 .
for n in 1 2 3; do xtr_is_clean hv$n || fail "hv$n: $(cat "$DIR/check.out")"; done
shown "nodes without a common family say so"
