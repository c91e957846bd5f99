#!/bin/sh
# A port moves from hv2 to hv3 and back while it is pinged from hv1 and from its new
# host, ten times a second: at most one packet is lost each time.
#
#      hv1            hv2  ──────>   hv3
#       a              └───── b ──────┘  c
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm c hv3 02:00:00:00:00:03 192.168.7.3 fd07::3
vm_twin b hv2 hv3 02:00:00:00:00:02 192.168.7.2 fd07::2
vm_attach a hv1 red
vm_attach c hv3 red
vm_attach b hv2 red

move() {
    local from=$1 to=$2 by=$3 address=$4
    ping_start "$by" "$address" 0.1
    vm_attach b "$to" red
    ping_more 5
    ping_lost_at_most 1 "b moves $from -> $to under a ping from $by"
    must "the map still has b at $(where red 192.168.7.2)" lives_at red 192.168.7.2 "$to"
    soon "$from gives b up" port_has_phase "$from" b refused
    xtr_json "$from" '.[] | select(.id == "b") | .problem' ports | grep -q "$to" ||
        fail "$from does not say where b went"
    xtrs_agree hv1 hv2 hv3
}

ping_well a 192.168.7.2
ping_well c fd07::2
move hv2 hv3 a 192.168.7.2
move hv3 hv2 a fd07::2
move hv2 hv3 c 192.168.7.2
move hv3 hv2 c fd07::2

# The agent that lost the port does not steal it back, not even by a restart.
xtr_stop hv3 KILL
xtr_start hv3
soon "hv3 has the whole map" xtr_is_synced hv3
must "a restart of hv3 stole b back" lives_at red 192.168.7.2 hv2
ping_well a 192.168.7.2
shown "a restart of the old host does not steal the port back"
