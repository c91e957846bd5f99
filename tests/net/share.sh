#!/bin/sh
# Two locations of equal priority share flows near their weights, by the kernel's nexthop
# group; when one of them dies, the other gets all.
#
#      hv1                 hv2 (weight 3)        hv3 (weight 1)
#       a ── 400 flows ──>  v                     v, same MAC and address
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/places.sh
. "$(dirname "$0")/../support/net/places.sh"
set -eu

FLOWS=400

# HV WEIGHT: a place that counts what it hears.
counter_open() {
    place_open "$1" --weight "$2"
    on "v-$1" nft -f - <<END
table ip count {
    chain in { type filter hook input priority 0; udp dport 7000-7999 counter drop; }
}
END
}

heard() { on "v-$1" nft -j list table ip count | jq '[.. | .counter?.packets // empty] | add'; }

# One packet of each of FLOWS flows, that differ by both ports.
send_flows() {
    # shellcheck disable=SC2016 # for the inner shell
    on a bash -c 'for i in $(seq '$FLOWS'); do
        echo x >/dev/udp/192.168.7.5/$((7000 + i % 1000)) || exit 1
    done'
}

all_are_heard() { [ $(($(heard hv2) + $(heard hv3))) -ge "$1" ]; }

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --probe 300ms >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm_attach a hv1 red
counter_open hv2 3
counter_open hv3 1
xtrs_agree hv1 hv2 hv3
probes_are_up hv1 hv2 hv3
ping_well a 192.168.7.5

on hv1 ip -j nexthop show | jq -e '[.[] | select(.group | length == 2) | .group[] | .weight // 1] |
    sort == [1, 3]' >/dev/null || fail "hv1 has no group with the weights: $(on hv1 ip nexthop show)"
send_flows
soon "all flows arrive" all_are_heard $FLOWS
two=$(heard hv2) three=$(heard hv3)
[ $((two + three)) = $FLOWS ] || fail "$FLOWS packets were sent, $two and $three arrived"
# 3 of 4 flows, give or take more than five standard deviations.
if [ "$two" -lt 255 ] || [ "$two" -gt 345 ]; then
    fail "weights 3 and 1: $two and $three of $FLOWS flows"
fi
shown "weights 3 and 1: $two and $three of $FLOWS flows"

ip -n "${T}net" link set p-hv2 down
xtr_stop hv2 KILL
soon "hv1 sees hv2 silent" probe_is hv1 hv2 silent
soon "hv1 sends to hv3" ping_once a 192.168.7.5
send_flows
soon "all flows arrive at hv3" all_are_heard $((2 * FLOWS))
[ "$(heard hv3)" = $((three + FLOWS)) ] || fail "after hv2 died: $(heard hv3) instead of $((three + FLOWS))"
shown "one of them dead: all flows at the other"
