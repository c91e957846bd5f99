#!/bin/sh
# Whose entry is it?  What others made stays; what is ours and stale goes at a restart;
# what is ours and was tampered with is found by "check" and put right by "--repair".
#
#      hv1            hv2
#       a             b  c
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm c hv2 02:00:00:00:00:03 192.168.7.3
vm_attach a hv1 red
vm_attach b hv2 red
vm_attach c hv2 red
ping_well a 192.168.7.2
ping_well a 192.168.7.3
xtrs_agree hv1
br=$(bridge_of hv1 a)
vx=$(vxlan_of hv1 a)

# The vxlan device's own entry of a MAC.
fdb_has() { on hv1 bridge fdb show dev "$vx" | grep -q "^$1 .* self "; }
neighbour_has() { on hv1 ip neigh show dev "$br" | grep -q "^$1 "; }

# A stranger's entries, in the same tables.
on hv1 bridge fdb add 02:ff:00:00:00:01 dev "$vx" dst 10.0.0.99 self
on hv1 bridge fdb add 02:ff:00:00:00:02 dev "$vx" master static
on hv1 ip neigh add 192.168.7.99 lladdr 02:ff:00:00:00:01 dev "$br" nud permanent
# And a port that goes away while the agent is not there to see it.
xtr_stop hv1 KILL
xtr hv2 detach c >/dev/null
must "c vanished without an agent: the test proves nothing" fdb_has 02:00:00:00:00:03
xtr_start hv1
soon "the stale entry goes" not fdb_has 02:00:00:00:00:03
soon "the stale neighbour goes" not neighbour_has 192.168.7.3
soon "hv1 has the whole map" xtr_is_synced hv1
strangers_stand() {
    fdb_has 02:ff:00:00:00:01 && neighbour_has 192.168.7.99 &&
        on hv1 bridge fdb show dev "$vx" | grep -q '^02:ff:00:00:00:02 .*static'
}
must "a stranger's entry was removed" strangers_stand
ping_well a 192.168.7.2
shown "a restart removes what is stale and ours, and leaves strangers' entries"

# Someone deletes and changes what is ours.
on hv1 ip neigh del 192.168.7.2 dev "$br"
on hv1 bridge fdb del 02:00:00:00:00:02 dev "$vx" self
if xtr_is_clean hv1; then
    fail "check did not notice: $(cat "$DIR/check.out")"
fi
for what in 192.168.7.2 02:00:00:00:00:02; do
    grep -q "missing.*$what" "$DIR/check.out" || fail "check does not name $what: $(cat "$DIR/check.out")"
done
must "check alone repaired something" not fdb_has 02:00:00:00:00:02
xtr hv1 check --repair >/dev/null || true
must "the FDB entry is back" fdb_has 02:00:00:00:00:02
must "the neighbour is back" neighbour_has 192.168.7.2
xtrs_agree hv1
grep -q '0 different, 2 foreign' "$DIR/check.out" || fail "strangers: $(cat "$DIR/check.out")"
must "a repair removed a stranger's entry" strangers_stand
ping_well a 192.168.7.2
shown "check names what is missing, --repair puts it back"

# The last port leaves: the network's devices go too.
xtr hv1 detach a >/dev/null
soon "the bridge goes with the last port" not ip -n "${T}hv1" link show "$br"
must "the vxlan device is left" not ip -n "${T}hv1" link show "$vx"
must "the tap went with the bridge" ip -n "${T}hv1" link show t-a >/dev/null
shown "with its last port the network leaves the host"
