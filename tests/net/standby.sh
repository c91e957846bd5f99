#!/bin/sh
# A hot standby: the active node loses its power, and agents send to the standby before the
# map knows; then the map follows, and when the node is back so is the traffic.
#
#      hv1 ── probes ──> hv2 (priority 0)     hv3 (priority 1)
#       a  ── ping ────>  v (active)           v (standby), same MAC and address
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/places.sh
. "$(dirname "$0")/../support/net/places.sh"
set -eu

scene_open
server_open 'lease: {duration: 8s}'
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --probe 300ms >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm_attach a hv1 red
place_open hv2
place_open hv3 --priority 1
xtrs_agree hv1 hv2 hv3
probes_are_up hv1 hv2 hv3
ping_well a 192.168.7.5

# Power loss: nothing goes in or out any more, and the agent is gone.
ping_start a 192.168.7.5
place_is_used hv2
ip -n "${T}net" link set p-hv2 down
xtr_stop hv2 KILL
soon "hv1 sees hv2 silent" probe_is hv1 hv2 silent
must "hv2 is reachable by the map, still" node_has_state hv2 reachable
place_is_used hv3
ping_stop
[ "$silence" -lt 3000 ] || fail "the standby took over after $silence ms"
shown "node killed, traffic on the standby after $silence ms; the map did not know yet"
xtr hv1 status | grep -q '2 nodes, 1 silent' || fail "the status does not tell of hv2"

soon "the map follows" node_has_state hv2 unreachable
soon "hv1 knows it" xtr_is_synced hv1
ping_well a 192.168.7.5
shown "then the lease runs out and the map follows"

# It comes back, and is used again: by the map, and by its answers.
ip -n "${T}net" link set p-hv2 up
xtr_start hv2
probes_are_up hv1 hv2
soon "hv2 is reachable again" node_has_state hv2 reachable
xtrs_agree hv1 hv2 hv3
ping_start a fd07::5
place_is_used hv2
ping_lost_at_most 0 "back on the active node"

# Only its RLOC is cut off, both ways; its lease lives on by another address.
ping_start a 192.168.7.5
on hv2 nft -f - <<END
table inet cut {
    chain in { type filter hook input priority 0; udp dport { 4783, 4789 } drop; }
    chain out { type filter hook output priority 0; udp sport 4783 drop; udp dport 4789 drop; }
}
END
place_is_used hv3
must "hv2 is reachable by the map" node_has_state hv2 reachable
ping_stop
[ "$silence" -lt 3000 ] || fail "the standby took over after $silence ms"
shown "RLOC cut off, traffic on the standby after $silence ms"
on hv2 nft delete table inet cut
probes_are_up hv1 hv2
ping_start a 192.168.7.5
place_is_used hv2
ping_lost_at_most 0 "back on the active node"
xtrs_agree hv1 hv2 hv3
