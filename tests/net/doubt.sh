#!/bin/sh
# Two agents are away while most of a network is removed, and for longer than the map servers
# remember that.  Both take a snapshot that lacks what they knew, and doubt it.  The one that
# knows three servers asks another, and believes both; the one that knows a single one keeps
# what it has until an operator accepts the loss.
#
#      ms1    ms2    ms3      hv1 (knows all)   hv2 (knows ms1)
#       ╚═ Raft ═╩════╝        a                 b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

has_saved_all() { [ "$(xtr_json "$1" '.saved_revision == .revision and .revision > 0' status)" = true ]; }
has_remote() { [ "$(xtr_json "$1" .n_remote_ports status)" = "$2" ]; }
kept() { xtr_json "$1" .n_kept status; }
has_problem() { xtr_json "$1" '.problems[]' status | grep -q "$2"; }
# Tombstones are forgotten as the map goes on.  One that is left would be a removal in the feed.
horizon_is_at() {
    ctl node set far --label "at=$(now_ms)" >/dev/null
    [ "$(ctl_json .horizon status)" -ge "$1" ]
}

scene_open
cluster_open 3 'tombstones: 1s'
xtr_open hv1 1
SERVERS='"tls://10.0.0.11:4342"'
xtr_open hv2 2
ctl network add red >/dev/null
ctl node set far --label rack=9 >/dev/null
for n in $(seq 10); do
    ctl port register "far$n" --network red --node far --ip 192.168.7.$((100 + n)) \
        --mac "02:00:00:00:01:$(printf %02x "$n")" >/dev/null
done
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm_attach a hv1 red
vm_attach b hv2 red
for hv in hv1 hv2; do
    soon "$hv has all" has_remote $hv 11
    soon "$hv saves all" has_saved_all $hv
done
for hv in hv1 hv2; do xtr_stop $hv KILL; done

for n in $(seq 2 10); do ctl port remove "far$n" >/dev/null; done
soon "the servers forget what was removed" horizon_is_at "$(ctl_json .revision status)"
for hv in hv1 hv2; do xtr_start $hv; done

soon "hv1 believes two servers" grep -q 'confirms what was doubted' "$DIR/hv1.log"
grep -q 'network red: map server ms[1-3] does not show 9 ports' "$DIR/hv1.log" || fail "hv1 did not doubt the first"
soon "hv1 has two remote ports" has_remote hv1 2
must "hv1 keeps nothing" [ "$(kept hv1)" = 0 ]
shown "a loss that another server confirms is believed"

soon "hv2 tells what it keeps" has_problem hv2 "network red: map server ms1 does not show 9 ports.*'mapctl xtr accept red'"
must "hv2 has let go $(xtr_json hv2 .n_remote_ports status)" has_remote hv2 11
must "and keeps $(kept hv2)" [ "$(kept hv2)" = 9 ]
ctl port register far2 --network red --node far --ip 192.168.7.102 --mac 02:00:00:00:01:02 >/dev/null
ctl port register new --network red --node far --ip 192.168.7.99 --mac 02:00:00:00:01:63 >/dev/null
soon "hv2 takes what is new and keeps the rest" has_remote hv2 12
must "far2 is still kept: $(kept hv2)" [ "$(kept hv2)" = 8 ]
xtr hv2 accept blue >"$DIR/accept.out" 2>&1 && fail "there is nothing to accept in blue"
xtr hv2 accept red >"$DIR/accept.out"
grep -q ' 8 ports' "$DIR/accept.out" || fail "accept does not say what it did: $(cat "$DIR/accept.out")"
xtrs_agree hv1 hv2
must "hv2 keeps nothing" [ "$(kept hv2)" = 0 ]
shown "with a single server it is kept until an operator accepts it"
