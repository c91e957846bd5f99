#!/bin/sh
# The map server comes back with an empty database.  The agents see that it is another map,
# say so, take it from its beginning, and what they have attached is in it.
#
#      ms             hv1            hv2
#   mapserver          a ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

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
soon "a is in the new map" lives_at red 192.168.7.1 hv1
soon "b is in the new map" lives_at red 192.168.7.2 hv2
soon "a is installed" port_has_phase hv1 a installed
soon "b is installed" port_has_phase hv2 b installed
xtrs_agree hv1 hv2
ping_well a 192.168.7.2
for hv in hv1 hv2; do
    grep -q 'another map than before' "$DIR/$hv.log" || fail "$hv does not say that the map is new"
done
shown "a new database is noticed, and both ports are in it"
