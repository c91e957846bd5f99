#!/bin/sh
# Two tenants with the same addresses on three hypervisors: each reaches its own.
#
#      hv1            hv2            hv3          red (VNI 100)   blue (VNI 200)
#     r1  b1         r2  b2          r3           192.168.7.N, fd07::N in both,
#      .1 .1          .2 .2          .3           and even the same MACs
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --vni 100 >/dev/null
ctl network add blue --vni 200 >/dev/null
for n in 1 2 3; do
    vm r$n hv$n 02:00:00:00:00:0$n 192.168.7.$n fd07::$n
    vm_attach r$n hv$n red
done
for n in 1 2; do
    vm b$n hv$n 02:00:00:00:00:0$n 192.168.7.$n fd07::$n
    vm_attach b$n hv$n blue
done

for to in 192.168.7.2 192.168.7.3 fd07::2 fd07::3; do ping_well r1 $to; done
ping_well r3 192.168.7.2
shown "red reaches red, IPv4 and IPv6"
ping_well b1 192.168.7.2
ping_well b2 fd07::1
shown "blue reaches blue, IPv4 and IPv6"
for to in 192.168.7.2 fd07::2; do ping_well r1 $to -M "do" -s 1400; done
shown "1400 bytes unfragmented"

must "blue must not reach red's 192.168.7.3" not ping_once b1 192.168.7.3
must "blue must not reach red's fd07::3" not ping_once b1 fd07::3
capture_start b2 b2 'icmp or icmp6'
ping_well r1 192.168.7.2
ping_well r1 fd07::2
ping_once b1 192.168.7.2 -s 77 || fail "b1 does not reach b2"
soon "the witness in b2 sees blue's ping" capture_sees b2 'echo request.* length 85'
[ "$(capture_count b2 'echo request')" = 1 ] || fail "b2 hears red's pings"
capture_stop b2
shown "what red sends does not come to blue"

xtrs_agree hv1 hv2 hv3
shown "map-cache and kernel agree on every hypervisor"
