#!/bin/sh
# A node's death is one change, however many endpoints it takes along: the same hot standby with 10
# and with 100,000 endpoints on the node that dies, and one of them is pinged.
#
#      hv1 ── probes ──> hv2 (priority 0)     hv3 (priority 1)
#       a  ── ping ────>  v (active)           v (standby), same MAC and address
#                         10, 100,000          the same: in the map, without devices
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/places.sh
. "$(dirname "$0")/../support/net/places.sh"
set -eu

: "${MANY:=100000}"

# N: hv1 has them all and v and the rest, as its kernel shows them.
hv1_holds() {
    [ "$(xtr_json hv1 '[.n_remote_ports, .installed_revision == .revision] | "\(.)"' status)" = \
        "[$(($1 + 1)),true]" ]
}

# N: the same, waited for longer than for small things.
hv1_gets() {
    local end
    end=$(($(now_ms) + 90000))
    until hv1_holds "$1"; do
        [ "$(now_ms)" -lt $end ] || fail "hv1 has not got $1 endpoints: $(xtr hv1 status)"
        sleep .2
    done
}

# The nexthop group that hv1 sends frames for the MAC by.
group_of() {
    on hv1 bridge fdb get "$1" dev "$(vxlan_of hv1 a)" self |
        awk '{ for (i = 1; i < NF; i++) if ($i == "nhid") print $(i + 1) }'
}

# N: hv2 loses its power with that many endpoints; $silence is how long v did not answer.
node_dies_with() {
    local group
    "$FILL" "unix:$DIR/ms.sock" red "$1" hv2 hv3
    hv1_gets "$1"
    on hv1 bridge fdb show dev "$(vxlan_of hv1 a)" >"$DIR/fdb"
    [ "$(grep -c '^06:01:.* nhid ' "$DIR/fdb")" = "$1" ] || fail "hv1's kernel has not got them all"
    group=$(group_of 02:00:00:00:00:05)
    [ "$(grep -c "^06:01:.* nhid $group " "$DIR/fdb")" = "$1" ] ||
        fail "they are not all in the group of v"
    ping_well a 192.168.7.5
    ping_start a 192.168.7.5
    place_is_used hv2
    : >"$DIR/cap-nexthops.log"
    daemon_start cap-nexthops hv1 ip monitor nexthop
    ip -n "${T}net" link set p-hv2 down
    xtr_stop hv2 KILL
    place_is_used hv3
    must "hv2 is reachable by the map, still" node_has_state hv2 reachable
    ping_stop
    daemon_end cap-nexthops TERM || true
    [ "$(grep -c ' group ' "$DIR/cap-nexthops.log")" = 1 ] ||
        fail "more than one group was replaced: $(cat "$DIR/cap-nexthops.log")"
    [ "$(group_of 02:00:00:00:00:05)" = "$group" ] || fail "v has another group now"
    [ "$(group_of 06:01:00:00:00:00)" = "$group" ] || fail "the others have not moved along"
    [ "$silence" -lt 5000 ] || fail "the standby took over after $silence ms"
    shown "node killed with $1 endpoints on it, traffic on the standby after $silence ms"
}

scene_open
server_open 'lease: {duration: 20s}'
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --probe 300ms >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm_attach a hv1 red
place_open hv2
place_open hv3 --priority 1
xtrs_agree hv1 hv2 hv3
probes_are_up hv1 hv2 hv3

node_dies_with 10
few=$silence

ip -n "${T}net" link set p-hv2 up
xtr_start hv2
probes_are_up hv1 hv2 hv3
ping_start a 192.168.7.5
place_is_used hv2
ping_stop

node_dies_with "$MANY"
shown "10 endpoints: $few ms; $MANY endpoints: $silence ms"
