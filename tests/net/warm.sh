#!/bin/sh
# An agent that knows two addresses of the map has its session at one and a connection in
# reserve at the other: when the first is cut it goes on over the second, the very same one,
# and makes a new reserve.
#
#      ms 10.0.0.10, fd00::10      hv1             hv2
#        ║          │               a ─── ping ───> b
#        ╚═ session │ reserve ══════╝  c (attached after the cut)
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

# The agent's own end of its connections to the map server: "ADDRESS:PORT", one a line.
ends() { on "$1" ss -Htn state established 'dport = :4342' | awk '{ print $3 }'; }
n_ends() { ends "$1" | wc -l; }
has_both() { [ "$(n_ends hv1)" = 2 ]; }
server_of() { xtr_json "$1" .server status; }
is_at() { [ "$(server_of hv1)" = "$1" ]; }

scene_open
server_open
xtr_open hv2 2
"$MAPCTL" --pki "$DIR/pki" pki node hv1 >/dev/null
underlay_host hv1 1
xtr_configure hv1 1
sed -i 's|^servers:.*|servers: ["tls://10.0.0.10:4342", "tls://[fd00::10]:4342"]|' "$DIR/hv1.yaml"
xtr_start hv1
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm c hv1 02:00:00:00:00:03 192.168.7.3
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2
soon "hv1 makes its reserve" has_both
[ "$(ctl_json '[.sessions[] | select(.name == "hv1")] | length' status --sessions)" = 1 ] ||
    fail "the reserve counts as a session"
shown "there are two connections"

for round in 1 2; do
    soon "hv1 makes its reserve" has_both
    case $(server_of hv1) in
    *fd00*) cut=fd00:: next=tls://10.0.0.10:4342 keep=10.0.0. ;;
    *) cut=10.0.0. next='tls://[fd00::10]:4342' keep=fd00:: ;;
    esac
    reserve=$(ends hv1 | grep -F "$keep")
    epoch=$(ctl_json '.answers[0].port.locations[0].epoch' resolve red 192.168.7.1)
    ping_start a 192.168.7.2
    on hv1 ss -HKtn state established 'dport = :4342' src "$(ends hv1 | grep -F "$cut")" >/dev/null
    soon "hv1 goes on over its reserve" is_at "$next"
    ends hv1 | grep -qF "$reserve" || fail "the connection is a new one, not $reserve: $(ends hv1)"
    ping_lost_at_most 0 "a cut session"
    [ "$(ctl_json '.answers[0].port.locations[0].epoch' resolve red 192.168.7.1)" = "$epoch" ] ||
        fail "the port has moved"
    soon "hv1 makes a new reserve" has_both
    shown "cut $round: it went on over the other connection"
done

vm_attach c hv1 red
ping_well b 192.168.7.3
xtrs_agree hv1 hv2
shown "the session does what the first one did"
