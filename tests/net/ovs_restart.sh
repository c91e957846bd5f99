#!/bin/sh
# Whatever is restarted under Open vSwitch, in whatever order: an xTR loses no packet, ovsdb-server
# is not missed, and after ovs-vswitchd has died its flows stand again as soon as it answers.
#
#      hv1 (ovs)      hv2 (ovs)
#       a              b
# shellcheck shell=dash source=../support/net/lib.sh
PLANE=ovs
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
ctl network add red >/dev/null
for n in 1 2; do xtr_open hv$n $n; done
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2
xtrs_agree hv1 hv2

# The words of the last ping: what was lost, and for how long at most.
told() {
    ping_stop
    shown "$1: $lost of $((answered + lost)) pings lost, longest silence $silence ms"
}

for signal in TERM KILL; do
    ping_start a 192.168.7.2 0.01
    xtr_stop hv1 $signal
    ping_more 20
    xtr_start hv1
    soon "hv1 has the whole map" xtr_is_synced hv1
    ping_more 20
    ping_lost_at_most 0 "the xTR of hv1 ends by SIG$signal and comes back under a ping"
    xtrs_agree hv1
done

# The userspace datapath stands still without its database: ovs-vswitchd has lost its lock then.
ping_start a 192.168.7.2 0.01
ovsdb_stop hv1
ovsdb_start hv1
soon "a reaches b again" ping_once a 192.168.7.2
ping_more 20
told "ovsdb-server of hv1 is killed and comes back"
xtrs_agree hv1

ping_well a 192.168.7.2
ping_start a 192.168.7.2 0.01
vswitchd_stop hv1
vswitchd_start hv1
soon "its flows stand again" ping_once a 192.168.7.2
ping_more 20
told "ovs-vswitchd of hv1 is killed and comes back"
xtrs_agree hv1
ping_well a fd07::2

# All at once, the xTR first and last.
xtr_stop hv1 KILL
vswitchd_stop hv1
ovsdb_stop hv1
ovsdb_start hv1
vswitchd_start hv1
xtr_start hv1
soon "a reaches b again" ping_once a 192.168.7.2
ping_well a fd07::2
xtrs_agree hv1 hv2
shown "all three of hv1 are killed and come back, the xTR last"

# Without Open vSwitch an xTR ends and says why: the service manager starts it again.
xtr_stop hv1 TERM
ovsdb_stop hv1
on hv1 "$XTR" --config "$DIR/hv1.yaml" >"$DIR/xtr.out" 2>&1 && fail "the xTR runs without OVSDB"
grep -q 'does ovsdb-server run' "$DIR/xtr.out" || fail "no reason: $(cat "$DIR/xtr.out")"
ovsdb_start hv1
vswitchd_stop hv1
on hv1 "$XTR" --config "$DIR/hv1.yaml" >"$DIR/xtr.out" 2>&1 && fail "the xTR runs without a switch"
grep -q 'ovs-vswitchd' "$DIR/xtr.out" || fail "no reason: $(cat "$DIR/xtr.out")"
vswitchd_start hv1
xtr_start hv1
soon "a reaches b again" ping_once a 192.168.7.2
xtrs_agree hv1
shown "an xTR that is started before Open vSwitch says what it lacks"
