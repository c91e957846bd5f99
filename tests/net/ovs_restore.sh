#!/bin/sh
# An operator restarts ovs-vswitchd as Debian's ovs-ctl does it: flows and groups are saved, and the
# new switch waits with its datapath until they are restored.  The xTR runs all the while.  It gives
# the new switch its flows at once, and puts right what the restore has brought back too old.
#
#      hv1 (ovs)      hv2 (ovs)
#       a, c           b
# shellcheck shell=dash source=../support/net/lib.sh source=../support/net/ovs.sh
PLANE=ovs
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

ovs_save=/usr/share/openvswitch/scripts/ovs-save
[ -x $ovs_save ] || skip "needs $ovs_save"

# HV: writes the script that restores its flows.  ovs-save asks the machine's own Open vSwitch,
# unless programs that come first in PATH send it to another one.
flows_save() {
    local dir=$DIR/$1.saved
    mkdir -p "$dir"
    printf '#!/bin/sh\nexec %s --db="unix:%s/db.sock" "$@"\n' \
        "$(command -v ovs-vsctl)" "$DIR/$1.ovs" >"$dir/ovs-vsctl"
    printf '#!/bin/sh\nexec %s --target="%s/vswitchd.ctl" "$@"\n' \
        "$(command -v ovs-appctl)" "$DIR/$1.ovs" >"$dir/ovs-appctl"
    chmod +x "$dir/ovs-vsctl" "$dir/ovs-appctl"
    OVS_RUNDIR=$DIR/$1.ovs TMPDIR=$dir PATH=$dir:$PATH sh $ovs_save save-flows br-int br-phy \
        >"$dir/restore"
}

flows_restore() { OVS_RUNDIR=$DIR/$1.ovs sh "$DIR/$1.saved/restore" >"$DIR/restore.out" 2>&1; }

waits() { vsctl "$1" --no-wait set Open_vSwitch . other_config:flow-restore-wait=true; }
waits_no_more() { vsctl "$1" --no-wait remove Open_vSwitch . other_config flow-restore-wait; }

# HV: flows and groups of ours, without numbers that count.
ours() {
    ofctl "$1" dump-flows --no-stats --no-names | grep 'cookie=0xe1d' | sort
    ofctl "$1" dump-groups
}
# LAST: by the last byte of the MAC.
has_flows_of() { ofctl hv1 dump-flows table=120 | grep -q "dl_dst=02:00:00:00:00:$1 "; }
ports_of() { ofctl "$1" show | sed -n 's/^ *\([0-9]*\)(\([^)]*\)).*/\1 \2/p'; }
has_problem() { xtr "$1" status | grep "^problem" | grep -q "$2"; }
has_strangers_flow() { ofctl hv1 dump-flows cookie=0x5/-1 | grep -q priority=77; }

# What it was before, once the datapath forwards again.
is_as_before() {
    ours hv1 >"$DIR/after"
    cmp -s "$DIR/before" "$DIR/after" && [ "$(ports_of hv1)" = "$ports" ]
}

scene_open
server_open
ctl network add red >/dev/null
for n in 1 2; do xtr_open hv$n $n; done
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm c hv1 02:00:00:00:00:03 192.168.7.3
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2
xtrs_agree hv1 hv2
ofctl hv1 add-flow cookie=0x5,priority=77,dl_type=0x88cc,actions=drop
ours hv1 >"$DIR/before"
ports=$(ports_of hv1)

ping_start a 192.168.7.2 0.01
flows_save hv1
grep -q 'group_id' "$DIR"/hv1.saved/*/br-int.groups.dump || fail "ovs-save has no group"
waits hv1
vswitchd_stop hv1
vswitchd_start hv1
soon "the xTR says what is waited for" has_problem hv1 flow-restore-wait
flows_restore hv1 || true
waits_no_more hv1
soon "a reaches b again" ping_once a 192.168.7.2
ping_stop
shown "flows saved, ovs-vswitchd restarted, flows restored: $lost of $((answered + lost)) pings lost, longest silence $silence ms"
soon "the problem is over" not has_problem hv1 flow-restore-wait
must "the stranger's flow is back" has_strangers_flow
soon "flows, groups and port numbers are as before" is_as_before
xtrs_agree hv1
shown "what is ours is there once, with the same port numbers; so is a stranger's flow"

# Between save and restore the map and the host change: c comes, b goes.
flows_save hv1
vm_attach c hv1 red
xtr hv2 detach b >/dev/null
soon "hv1 knows both" xtr_is_synced hv1
waits hv1
vswitchd_stop hv1
vswitchd_start hv1
soon "the xTR has given the new switch its flows" has_flows_of 03
flows_restore hv1 || true
must "the restored flows are the older ones" has_flows_of 02
waits_no_more hv1
soon "b has gone again" not has_flows_of 02
soon "a reaches c" ping_once a 192.168.7.3
soon "hv1 is connected again" xtr_is_synced hv1
xtrs_agree hv1
shown "a restore of flows that are older than the map is put right"
