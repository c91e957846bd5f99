#!/bin/sh
# Somebody deletes what xtr has put into the kernel of hv2.  The agent notices within a
# second or so, makes it again, says so in its log, and traffic goes on.
#
#      hv1            hv2
#       a ── ping ──> b
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

drift() { xtr_json hv2 .n_drift status; }
has_drift_above() { [ "$(drift)" -gt "$1" ]; }
grep_status() { xtr_json hv2 '.problems[]' status | grep -q "$1"; }

bridge=$(bridge_of hv2 b)
vxlan=$(vxlan_of hv2 b)
for harm in "link del $vxlan" "nexthop flush protocol 225" "link del $bridge"; do
    before=$(drift)
    # shellcheck disable=SC2086 # words of a command
    ip -n "${T}hv2" $harm >/dev/null
    soon "the agent repairs after 'ip $harm'" has_drift_above "$before"
    ping_well a 192.168.7.2
    ping_well b fd07::1
    xtrs_agree hv1 hv2
    shown "repaired after 'ip $harm': $(($(drift) - before)) differences"
done
grep -q 'taken out by somebody' "$DIR/hv2.log" || fail "the log of hv2 says nothing of it"

# A stranger's entry is in the way; once it is gone, a check with repair puts ours there.
on hv2 bridge fdb add 02:00:00:00:00:03 dev "$vxlan" dst 10.0.0.99
vm c hv1 02:00:00:00:00:03 192.168.7.3
vm_attach c hv1 red
soon "the stranger's entry is told as a problem" grep_status 'in the way'
on hv2 bridge fdb del 02:00:00:00:00:03 dev "$vxlan"
xtr hv2 check --repair >/dev/null || true
ping_well b 192.168.7.3
shown "an entry that a stranger blocked comes when it has gone and a person repairs"
