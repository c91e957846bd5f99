#!/bin/sh
# An agent with the null data plane follows the map and shows it, and leaves its host alone.
#
#      hv1, a guest         hv2, dataplane: null
#       a (red)              watcher (red), a port without a device
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

knows() { xtr_json "$1" ".[] | select(.kind == \"port\") | .record.id" cache | grep -qx "$2"; }

status_of() { xtr_json "$1" ".$2" status; }

links() { on "$1" ip -br link show; }

scene_open
server_open
ctl network add red >/dev/null
xtr_open hv1 1
xtr_open hv2 2 "dataplane: null
ports:
  - {id: watcher, network: red, device: none0, mac: 02:00:00:00:00:02}"
before=$(links hv2)
must "hv2 says which data plane it has" [ "$(status_of hv2 dataplane)" = null ]
soon "the port needs no device" port_has_phase hv2 watcher installed
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm_attach a hv1 red
soon "hv2 knows hv1's port" knows hv2 a
soon "hv2 has what the map has, and says that all is installed" xtr_is_synced hv2
shown "the null data plane follows the map"

must "hv2 has the devices that it had" [ "$(links hv2)" = "$before" ]
must "hv2 has no FDB entry" not on hv2 sh -c 'bridge fdb show | grep 02:00:00:00:00:01'
must "hv2 has no neighbour entry" not on hv2 sh -c 'ip neigh show | grep 192.168.7.1'
xtr hv2 check >/dev/null || fail "check finds a fault"
shown "and its host is as it was"

xtr hv1 detach a >/dev/null
soon "hv2 forgets the port" not knows hv2 a
shown "what ends is forgotten"
