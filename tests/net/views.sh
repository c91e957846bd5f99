#!/bin/sh
# Who sees which location: a gateway with one address and an instance on each host, first as
# locations in views, then as any-local; and a service that one rack has for itself.
#
#      hv1             hv2             hv3 (rack=7)
#    a   gw1         b   gw2         c   gw3          gw: 192.168.7.254, one MAC
#        dns                             near         dns: 192.168.7.53, one MAC
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

GW=192.168.7.254 GWMAC=02:00:00:00:00:fe
DNS=192.168.7.53 DNSMAC=02:00:00:00:00:53
scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --subnet 192.168.7.0/24 >/dev/null
n=1
for name in a b c; do
    vm $name hv$n 02:00:00:00:00:0$n 192.168.7.$n
    vm_attach $name hv$n red
    vm gw$n hv$n $GWMAC $GW
    n=$((n + 1))
done

# HV: attaches that host's instance of the gateway.
gateway_attach() {
    xtr "$1" attach gw --network red --mac $GWMAC --ip $GW --dev "t-gw${1#hv}" >/dev/null
}

# Echo requests that an instance has had: the kernel's own count.
heard() {
    on "$1" awk '/^Icmp: In/ { for (i = 1; i <= NF; i++) if ($i == "InEchos") at = i }
        /^Icmp: [0-9]/ { print $at }' /proc/net/snmp
}

# VM INSTANCE OTHERS...: VM's ping is answered by this instance and heard by no other.
reaches() {
    local vm=$1 own=$2 to=$3 other
    shift 3
    for other; do heard "$other" >"$DIR/heard.$other"; done
    heard "$own" >"$DIR/heard.$own"
    ping_well "$vm" "$to"
    [ "$(heard "$own")" -ge $(($(cat "$DIR/heard.$own") + 20)) ] || fail "$vm did not reach $own"
    for other; do
        [ "$(heard "$other")" = "$(cat "$DIR/heard.$other")" ] || fail "$vm reached $other too"
    done
}

# ------------------------------------------------------------------------ views
ctl port register gw --network red --mac $GWMAC --ip $GW --multihomed >/dev/null
for n in 1 2; do
    ctl port locate gw hv$n --view node=hv$n >/dev/null
    gateway_attach hv$n
done
[ "$(ctl_json '[.locations[].view.node_id] | join(" ")' port show gw)" = "hv1 hv2" ] ||
    fail "a node's claim has taken its view away: $(ctl port show gw)"
xtrs_agree hv1 hv2 hv3
reaches a gw1 $GW gw2 gw3
reaches b gw2 $GW gw1 gw3
must "hv3 sees a gateway that is not for it" not ping_once c $GW
[ "$(xtr_json hv3 '[.[] | select(.wrong)][0].step' trace red $GW 2>/dev/null)" = choice ] ||
    fail "hv3's trace: $(xtr hv3 trace red $GW 2>&1)"
shown "each host sees its own instance, and a host without one sees none"

# ------------------------------------------------------------------- label views
ctl node set hv3 --label rack=7 >/dev/null
vm dns hv1 $DNSMAC $DNS
vm near hv3 $DNSMAC $DNS
ctl port register dns --network red --mac $DNSMAC --ip $DNS --multihomed >/dev/null
ctl port locate dns hv1 >/dev/null
ctl port locate dns hv3 --view label=rack=7 >/dev/null
xtr hv1 attach dns --network red --mac $DNSMAC --ip $DNS --dev t-dns >/dev/null
xtrs_agree hv1 hv2 hv3
reaches b dns $DNS near
ctl node set hv2 --label rack=7 >/dev/null
xtr hv3 attach dns --network red --mac $DNSMAC --ip $DNS --dev t-near >/dev/null
xtrs_agree hv1 hv2 hv3
reaches b near $DNS dns
xtr hv2 trace red $DNS --from b | tee "$DIR/trace.out" | grep -q 'hv1:.*passed over for one with a narrower view' ||
    fail "the trace does not say why: $(cat "$DIR/trace.out")"
ctl port locate dns hv3 --remove >/dev/null
[ "$(ctl_json '.locations | length' port show dns)" = 1 ] || fail "it is still there"
xtrs_agree hv2
reaches b dns $DNS near
shown "a label's location is preferred by the nodes with the label"

# --------------------------------------------------------------------- any-local
for n in 1 2; do xtr hv$n detach gw >/dev/null; done
ctl port locate gw --any-local >/dev/null
capture_start out hv2 udp port 4789
for n in 1 3; do gateway_attach hv$n; done
xtrs_agree hv1 hv2 hv3
reaches a gw1 $GW gw2 gw3
reaches c gw3 $GW gw1 gw2
revision=$(ctl_json .revision status)
must "hv2, without an instance, reaches another's" not ping_once b $GW
must "traffic to the gateway has left hv2" not capture_sees out '10\.0\.0\.2\.[0-9]+ > '
gateway_attach hv2
reaches b gw2 $GW gw1 gw3
[ "$(ctl_json .revision status)" = "$revision" ] || fail "one more instance is a change of the map"
must "something has left hv2" not capture_sees out '10\.0\.0\.2\.[0-9]+ > '
capture_stop out
xtrs_agree hv1 hv2 hv3
ctl port show gw | grep -q 'any-local' || fail "port show: $(ctl port show gw)"
shown "any-local: each host answers for itself, nothing leaves it, the map has one location"

xtr_stop hv2
xtr_start hv2
soon "the instance is installed again" port_has_phase hv2 gw installed
reaches b gw2 $GW gw1 gw3
shown "and so it is after a restart"
not ctl port locate gw hv1 || fail "any-local took a second location"
ctl port move gw --to hv1 >/dev/null
soon "hv2's instance is refused when the port is hv1's alone" port_has_phase hv2 gw refused
reaches b gw1 $GW gw2 gw3
shown "a port that is any-local no more is where the map says"
