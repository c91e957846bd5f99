#!/bin/sh
# A hot standby: the active node loses its power, and agents send to the standby before the
# map knows; then the map follows, and when the node is back so is the traffic.
#
#      hv1 ── probes ──> hv2 (priority 0)     hv3 (priority 1)
#       a  ── ping ────>  v (active)           v (standby), same MAC and address
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

node_has_state() { [ "$(ctl_json .state node show "$1")" = "$2" ]; }

# HV NODE STATE
probe_is() { [ "$(xtr_json "$1" ".[] | select(.id == \"$2\") | .probe" nodes)" = "$3" ]; }

# HV PRIORITY: "v" behind this one.
attach_v() {
    vm "v-$1" "$1" 02:00:00:00:00:05 192.168.7.5 fd07::5
    xtr "$1" attach v --network red --dev "t-v-$1" --mac 02:00:00:00:00:05 \
        --ip 192.168.7.5 --ip fd07::5 --multihomed --priority "$2" >/dev/null
}

# Frames that have come to v behind HV.
heard() { on "v-$1" cat /sys/class/net/eth0/statistics/rx_packets; }
hears_more() { [ "$(heard "$1")" -ge $(($2 + 10)) ]; }
is_used() { soon "v behind $1 gets the traffic" hears_more "$1" "$(heard "$1")"; }

scene_open
server_open 'lease: {duration: 8s}'
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --probe 300ms >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm_attach a hv1 red
attach_v hv2 0
attach_v hv3 1
xtrs_agree hv1 hv2 hv3
for n in 2 3; do soon "hv$n answers probes" probe_is hv1 hv$n up; done
ping_well a 192.168.7.5

# Power loss: nothing goes in or out any more, and the agent is gone.
ping_start a 192.168.7.5
is_used hv2
ip -n "${T}net" link set p-hv2 down
xtr_stop hv2 KILL
soon "hv1 sees hv2 silent" probe_is hv1 hv2 silent
must "hv2 is reachable by the map, still" node_has_state hv2 reachable
is_used hv3
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
soon "hv2 answers probes again" probe_is hv1 hv2 up
soon "hv2 is reachable again" node_has_state hv2 reachable
xtrs_agree hv1 hv2 hv3
ping_start a fd07::5
is_used hv2
ping_lost_at_most 0 "back on the active node"

# Only its RLOC is cut off, both ways; its lease lives on by another address.
ping_start a 192.168.7.5
on hv2 nft -f - <<END
table inet cut {
    chain in { type filter hook input priority 0; udp dport { 4783, 4789 } drop; }
    chain out { type filter hook output priority 0; udp sport 4783 drop; udp dport 4789 drop; }
}
END
is_used hv3
must "hv2 is reachable by the map" node_has_state hv2 reachable
ping_stop
[ "$silence" -lt 3000 ] || fail "the standby took over after $silence ms"
shown "RLOC cut off, traffic on the standby after $silence ms"
on hv2 nft delete table inet cut
soon "hv2 answers probes again" probe_is hv1 hv2 up
is_used_again() { ping_once a 192.168.7.5 && hears_more hv2 "$before"; }
before=$(heard hv2)
soon "hv2 is used again" is_used_again
xtrs_agree hv1 hv3
