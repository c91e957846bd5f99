#!/bin/sh
# Each daemon is restarted, by SIGTERM and by SIGKILL, while a guest is pinged every
# 10 ms: no packet is lost, and afterwards map and kernel agree.
#
#      ms             hv1            hv2
#   mapserver          a ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2

settle() {
    soon "a is installed" port_has_phase hv1 a installed
    soon "b is installed" port_has_phase hv2 b installed
    xtrs_agree hv1 hv2
}

# What xtr has made: its devices' entries and its nexthops.
entries() {
    on "$1" sh -c 'bridge fdb show; ip neigh show; ip nexthop show' |
        grep -E 'dev (em[bx]|t-)|proto 225' | sort
}

for signal in TERM KILL; do
    for hv in hv1 hv2; do
        settle
        entries $hv >"$DIR/before"
        ping_start a 192.168.7.2
        xtr_stop $hv $signal
        ping_more 10
        xtr_start $hv
        settle
        ping_lost_at_most 0 "xtr of $hv restarted by SIG$signal"
        entries $hv | diff "$DIR/before" - >"$DIR/diff" ||
            fail "the restart changed entries of $hv: $(cat "$DIR/diff")"
    done
    ping_start a fd07::2
    server_stop $signal
    ping_more 10
    server_start
    settle
    ping_lost_at_most 0 "mapserver restarted by SIG$signal"
    [ "$(ctl_json length port list red)" = 2 ] || fail "the map has lost a port"
done
shown "entries in the kernel are the same before and after"
