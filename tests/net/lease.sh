#!/bin/sh
# An agent that hangs: its node turns unreachable in the map when its lease runs out, but
# a port that has no other place keeps it, and traffic goes on.
#
#      hv1            hv2 (its xTR is stopped by SIGSTOP)
#       a ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/places.sh
. "$(dirname "$0")/../support/net/places.sh"
set -eu

scene_open
server_open 'lease: {duration: 2s}'
for n in 1 2; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2
must "hv2 is not reachable at first" node_has_state hv2 reachable

ping_start a 192.168.7.2
daemon_signal hv2 STOP
soon "hv2 turns unreachable" node_has_state hv2 unreachable
must "hv1 turns unreachable too" node_has_state hv1 reachable
soon "hv1 knows it" xtr_is_synced hv1
must "the map has forgotten where b is" lives_at red 192.168.7.2 hv2
ping_more 20
shown "the node is unreachable, its port stays, traffic goes on"

daemon_signal hv2 CONT
soon "hv2 is reachable again" node_has_state hv2 reachable
ping_lost_at_most 0 "an agent stopped and continued"
xtrs_agree hv1 hv2
