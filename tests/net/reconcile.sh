#!/bin/sh
# The kernel's tables are compared with what they should be, by the clock on hv1 (here each
# second) and at the kernel's news on hv2: what somebody took out comes back and is counted,
# what is in excess goes, what a stranger has set in the way is told and left.
#
#      hv1            hv2
#       a ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
xtr_open hv1 1 'reconcile: 1s'
xtr_open hv2 2 'reconcile: 24h'
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2
xtrs_agree hv1 hv2
br=$(bridge_of hv1 a)
vx=$(vxlan_of hv1 a)

status() { xtr_json "$1" ".$2" status; }
has_drift() { [ "$(status hv1 n_drift)" -ge "$1" ]; }
has_reconciled() { [ "$(status "$1" n_reconciled)" -ge "$2" ]; }
# HV: two comparisons begin and end after this.
reconcile() { soon "$1 compares" has_reconciled "$1" $(($(status "$1" n_reconciled) + 2)); }
has_problem() { xtr_json hv1 '.problems[]' status | grep -q "$1"; }
fdb_has() { on hv1 bridge fdb show dev "$vx" | grep -q "^$1 .*$2"; }
neighbour_has() { on hv1 ip neigh show dev "$br" | grep -q "^$1 .*$2"; }

before=$(status hv1 n_drift)
reconcile hv1
[ "$(status hv1 n_drift)" = "$before" ] || fail "something was repaired that nobody broke"

on hv1 ip neigh del 192.168.7.2 dev "$br"
on hv1 bridge fdb del 02:00:00:00:00:02 dev "$vx" self
on hv1 bridge fdb del 02:00:00:00:00:02 dev "$vx" master
on hv1 bridge fdb del 02:00:00:00:00:01 dev t-a master
on hv1 bridge fdb del 00:00:00:00:00:00 dev "$vx" dst 10.0.0.2
soon "all five are counted" has_drift $((before + 5))
must "the neighbour is back" neighbour_has 192.168.7.2 'proto 225'
must "the vxlan entry is back" fdb_has 02:00:00:00:00:02 'nhid .* self'
must "the bridge entry is back" fdb_has 02:00:00:00:00:02 'master'
must "the place for broadcast is back" fdb_has 00:00:00:00:00:00 'dst 10.0.0.2'
grep -q 'fdb missing: 02:00:00:00:00:02' "$DIR/hv1.log" || fail "the log does not say what it was"
ping_well a 192.168.7.2
xtrs_agree hv1
shown "entries taken out by hand come back by the clock, $(($(status hv1 n_drift) - before)) counted"

on hv1 bridge fdb add 02:00:00:00:00:77 dev "$vx" dst 10.0.0.2 self extern_learn
on hv1 ip neigh add 192.168.7.77 lladdr 02:00:00:00:00:77 dev "$br" nud permanent protocol 225
soon "the extra FDB entry goes" not fdb_has 02:00:00:00:00:77
soon "the extra neighbour goes" not neighbour_has 192.168.7.77
shown "entries in excess that bear xtr's mark go"

daemon_signal hv1 STOP # or it might put its own back in between
on hv1 bridge fdb del 02:00:00:00:00:02 dev "$vx" self
on hv1 bridge fdb add 02:00:00:00:00:02 dev "$vx" dst 10.0.0.99 self
on hv1 ip neigh del 192.168.7.2 dev "$br"
on hv1 ip neigh add 192.168.7.2 lladdr 02:ff:00:00:00:99 dev "$br" nud permanent
daemon_signal hv1 CONT
soon "the stranger is told as a problem" has_problem 'in the way'
before=$(status hv1 n_drift)
reconcile hv1
must "the stranger's FDB entry was fought over" fdb_has 02:00:00:00:00:02 'dst 10.0.0.99 self'
must "the stranger's neighbour was fought over" neighbour_has 192.168.7.2 02:ff:00:00:00:99
[ "$(status hv1 n_drift)" = "$before" ] || fail "what was left alone was counted as repaired"
xtr hv1 check >"$DIR/check.out" || fail "a stranger's entry is no fault: $(cat "$DIR/check.out")"
grep -q '0 different, 2 foreign' "$DIR/check.out" || fail "check says: $(cat "$DIR/check.out")"
shown "a stranger's entries in the way are told and left"

on hv1 bridge fdb del 02:00:00:00:00:02 dev "$vx" self
on hv1 ip neigh del 192.168.7.2 dev "$br"
soon "the problem goes with them" not has_problem 'in the way'
ping_well a 192.168.7.2
xtrs_agree hv1
shown "once they are gone, ours are back"

# One that is in the way from the beginning: nobody has to ask for another try.
on hv1 bridge fdb add 02:00:00:00:00:03 dev "$vx" dst 10.0.0.99
vm c hv2 02:00:00:00:00:03 192.168.7.3
vm_attach c hv2 red
soon "the stranger is told as a problem" has_problem 'in the way'
on hv1 bridge fdb del 02:00:00:00:00:03 dev "$vx"
soon "ours takes the place" fdb_has 02:00:00:00:00:03 'nhid .* self'
ping_well a 192.168.7.3
shown "an entry that was blocked comes by itself when the stranger has gone"

# hv2 would compare in a day; the kernel's news say that it is due.
for harm in "link set $(vxlan_of hv2 b) down" "link set $(bridge_of hv2 b) down"; do
    n=$(status hv2 n_reconciled)
    # shellcheck disable=SC2086 # words of a command
    ip -n "${T}hv2" $harm
    soon "it was compared after 'ip $harm'" has_reconciled hv2 $((n + 1))
    ping_well a 192.168.7.2
    xtrs_agree hv2
done
n=$(status hv2 n_reconciled)
ip -n "${T}hv2" link set eth0 down
soon "the underlay's loss is seen" has_reconciled hv2 $((n + 1))
n=$(status hv2 n_reconciled)
ip -n "${T}hv2" link set eth0 up
soon "the underlay's return is seen" has_reconciled hv2 $((n + 1))
ping_well a 192.168.7.2
xtrs_agree hv1 hv2
shown "links that go down and come up are noticed and put right"

# A client that asks for a check and is cut off at once: id 1, xtr_check, then no envelope.
python3 - "$DIR/hv2.sock" <<'END'
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(bytes.fromhex("00000005" "0801ca0500" "00000001" "ff"))
while client.recv(4096):
    pass
END
xtr hv2 check >"$DIR/check.out" || fail "hv2 does not check any more: $(cat "$DIR/check.out")"
is_alive hv2
shown "a client that goes while its check is under way harms nobody"
