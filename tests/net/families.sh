#!/bin/sh
# hv1's tunnels are IPv4, hv2's IPv6: neither can send to the other, and both say so.
#
#      hv1 (10.0.0.1)     hv2 (fd00::2)
#       a                  b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
xtr_open hv1 1
FAMILY=6 xtr_open hv2 2
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm_attach a hv1 red
vm_attach b hv2 red

tells() { xtr_json "$1" '.problems[]' status | grep -q "$2"; }

soon "hv1 tells that hv2 is out of reach" tells hv1 'node hv2 has no IPv4 RLOC'
soon "hv2 tells that hv1 is out of reach" tells hv2 'node hv1 has no IPv6 RLOC'
grep -q 'hv2 has no IPv4 RLOC' "$DIR/hv1.log" || fail "the log of hv1 says nothing of it"
shown "a node that cannot be reached is told in the status and the log"
