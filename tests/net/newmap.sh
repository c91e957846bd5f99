#!/bin/sh
# The map server comes back with an empty database, and the networks are made again with other
# numbers.  The agents see that it is another map, say so, and go on by the old one.  Accepted,
# the new one is taken from its beginning, and what is attached is in it.
#
#      ms             hv1            hv2
#   mapserver          a ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

tells_of_new_map() {
    grep -q 'another map than before' "$DIR/$1.log" &&
        xtr_json "$1" '.problems[]' status | grep -q 'without network red as it is here'
}

scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
for name in red x1 x2 x3; do ctl network add $name >/dev/null; done
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2

server_stop
rm -rf "$DIR/ms"
server_start
for name in green red; do ctl network add $name >/dev/null; done
for hv in hv1 hv2; do
    soon "$hv does not say that the map is new" tells_of_new_map $hv
done
ping_well a 192.168.7.2
not ctl resolve red 192.168.7.1 || fail "a is in a network that has the number of its own by chance"
shown "a new database is noticed, and nothing is put under its numbers"

for hv in hv1 hv2; do xtr $hv accept >/dev/null; done
soon "a is in the new map" lives_at red 192.168.7.1 hv1
soon "b is in the new map" lives_at red 192.168.7.2 hv2
soon "a is installed" port_has_phase hv1 a installed
soon "b is installed" port_has_phase hv2 b installed
xtrs_agree hv1 hv2
ping_well a 192.168.7.2
must "hv1 has no problem left: $(xtr hv1 status)" [ "$(xtr_json hv1 '.problems | length' status)" = 0 ]
shown "it is accepted, and both ports are in it"
