#!/bin/sh
# All map servers are dead, and a hypervisor boots: its kernel has nothing any more, and its
# agent forwards by the map-cache that it saved.  When a server comes back, the feeds go on
# where they were.  A saved map-cache that is damaged is set aside, and taken anew.
#
#      ms (dead)      hv1 (boots)    hv2
#                      a ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

has_saved_all() { [ "$(xtr_json "$1" '.saved_revision == .revision and .revision > 0' status)" = true ]; }
snapshots() { xtr_json "$1" .n_snapshots status; }

# As after a boot: no bridge, vxlan device or nexthop of ours is left.
kernel_forget() {
    local dev
    for dev in $(ip -n "$T$1" -j link show | jq -r '.[].ifname | select(test("^em[bx]"))'); do
        ip -n "$T$1" link del "$dev" 2>/dev/null || true
    done
    ip -n "$T$1" nexthop flush >/dev/null 2>&1 || true
    [ -z "$(ip -n "$T$1" -o link show type vxlan)" ] || fail "$1 still has vxlan devices"
}

scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
for name in red blue; do ctl network add $name >/dev/null; done
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm c hv1 02:00:00:00:00:03 192.168.8.3
vm_attach a hv1 red
vm_attach b hv2 red
vm_attach c hv1 blue
ping_well a 192.168.7.2
soon "hv1 saves what it has" has_saved_all hv1

server_stop KILL
xtr_stop hv1 KILL
kernel_forget hv1
must "without the kernel's entries nothing goes" not ping_once a 192.168.7.2
xtr_start hv1
soon "hv1 forwards by what it saved" ping_once a 192.168.7.2
soon "hv1 forwards IPv6 by what it saved" ping_once a fd07::2
must "hv1 has no server" [ "$(xtr_json hv1 .server status)" = "" ]
must "hv1 shows the other port" [ "$(xtr_json hv1 .n_remote_ports status)" = 1 ]
vm d hv1 02:00:00:00:00:04 192.168.7.4
vm_attach d hv1 red --no-wait
must "an attach waits: $(port_phase hv1 d)" port_has_phase hv1 d waiting
soon "and is forwarded for here" ping_once d 192.168.7.1
shown "a hypervisor boots without a map server and forwards"

server_start
soon "d is installed" port_has_phase hv1 d installed
ping_well b 192.168.7.4
xtrs_agree hv1 hv2
must "hv1 took $(snapshots hv1) snapshots" [ "$(snapshots hv1)" = 0 ]
before=$(snapshots hv2)
server_stop KILL
server_start
vm_attach c hv1 blue
xtrs_agree hv1 hv2
must "hv2 took another snapshot" [ "$(snapshots hv2)" = "$before" ]
shown "feeds go on where they were, after a boot and after a break"

# What was made and what was removed while the agent was away.
soon "hv2 saves what it has" has_saved_all hv2
xtr_stop hv2 KILL
xtr hv1 detach d >/dev/null
vm e hv1 02:00:00:00:00:05 192.168.7.5
vm_attach e hv1 red
xtr_start hv2
ping_well b 192.168.7.5
xtrs_agree hv1 hv2
must "hv2 took a snapshot for two changes" [ "$(snapshots hv2)" = 0 ]
shown "what changed meanwhile is taken in, and no more"

for damage in flip version; do
    soon "hv2 saves what it has" has_saved_all hv2
    rm -f "$DIR/hv2/map.bad"
    ping_start a 192.168.7.2
    xtr_stop hv2 TERM
    case $damage in
    flip) printf X | dd of="$DIR/hv2/map" bs=1 seek=60 conv=notrunc 2>/dev/null ;;
    version) printf 2 | dd of="$DIR/hv2/map" bs=1 seek=7 conv=notrunc 2>/dev/null ;;
    esac
    xtr_start hv2
    must "the file was not set aside" [ -s "$DIR/hv2/map.bad" ]
    xtrs_agree hv1 hv2
    must "hv2 took $(snapshots hv2) snapshots" [ "$(snapshots hv2)" -ge 2 ]
    soon "hv2 saves it anew" has_saved_all hv2
    ping_lost_at_most 0 "a map-cache file with a $damage"
done
[ "$(grep -c 'is damaged and was renamed' "$DIR/hv2.log")" = 1 ] || fail "the damage is not told once"
[ "$(grep -c 'is of another version' "$DIR/hv2.log")" = 1 ] || fail "the version is not told once"
shown "a file that is damaged or of another version is set aside"
