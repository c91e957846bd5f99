#!/bin/sh
# An underlay of IPv6 alone: map server, RLOCs and tunnels on fd00::/64.
#
#      hv1            hv2            hv3
#    fd00::1        fd00::2        fd00::3       no IPv4 address on any host
#       a              b              c
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

export FAMILY=6 VM_MTU=1430
scene_open
server_open
for n in 1 2 3; do
    xtr_open hv$n $n
    ip -n "${T}hv$n" address flush dev eth0 scope global to 10.0.0.0/24
done
ctl network add red >/dev/null
n=1
for name in a b c; do
    vm $name hv$n 02:00:00:00:00:0$n 192.168.7.$n fd07::$n
    vm_attach $name hv$n red
    n=$((n + 1))
done

capture_start out hv1 udp port 4789
for to in 192.168.7.2 192.168.7.3 fd07::2 fd07::3; do ping_well a $to; done
for to in 192.168.7.2 fd07::2; do ping_well a $to -M "do" -s 1380; done
soon "tunnels run over IPv6" capture_sees out 'IP6 fd00::1\.[0-9]+ > fd00::2\.4789: VXLAN'
must "something crossed in IPv4" not capture_sees out '10\.0\.0\..*VXLAN'
capture_stop out
xtrs_agree hv1 hv2 hv3
xtr hv1 trace red fd07::2 --from a >"$DIR/trace.out" || fail "the trace: $(cat "$DIR/trace.out")"
grep -q 'ok     underlay .*packets of 1430' "$DIR/trace.out" ||
    fail "the trace: $(cat "$DIR/trace.out")"
shown "IPv4 and IPv6 of the guests over an underlay of IPv6"
