#!/bin/sh
# An operator disables a node while it is connected, and enables it again: its ports come
# back, and one that was attached in between and refused comes too.
#
#      hv1            hv2
#       a ── ping ──> b   c
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
ping_well a 192.168.7.2

xtr_is_headless() { [ -z "$(xtr_json hv2 .server status)" ]; }
is_back() { port_has_phase hv2 c installed; }

ctl node set hv2 --disable >/dev/null
vm_attach c hv2 red 2>/dev/null && fail "a disabled node attaches"
soon "hv2 is out" xtr_is_headless
ctl node set hv2 --enable >/dev/null
# A client that was denied comes back within half a minute.
eventually is_back || soon "c is installed after all" is_back
soon "b is in the map again" lives_at red 192.168.7.2 hv2
xtrs_agree hv1 hv2
ping_well a 192.168.7.2
ping_well a 192.168.7.3
shown "an attach that a disabled node was refused is done when it is enabled"
