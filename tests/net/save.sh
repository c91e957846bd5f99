#!/bin/sh
# What an attach has been answered outlives a crash that follows at once: the port, and the
# epoch that the map gave it, so that a restart is no fresh claim.
#
#      hv1
#       a   b   c
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
xtr_open hv1 1
ctl network add red >/dev/null

epoch_of() { xtr_json hv1 ".[] | select(.id == \"$1\") | .epoch" ports; }

i=1
for name in a b c; do
    vm $name hv1 02:00:00:00:00:0$i 192.168.7.$i
    vm_attach $name hv1 red
    xtr_stop hv1 KILL
    # Without its server it tells what the file told it.
    server_stop KILL
    xtr_start hv1
    [ "$(xtr_json hv1 length ports)" = $i ] || fail "$name was lost by a crash after its attach"
    [ "$(epoch_of $name)" -gt 0 ] || fail "the epoch of $name was lost by a crash"
    server_start
    soon "$name comes back" port_has_phase hv1 $name installed
    i=$((i + 1))
done
xtrs_agree hv1
shown "a port is on disk when its attach is answered"
