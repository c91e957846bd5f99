#!/bin/sh
# Containers by the CNI plugin: with ADD's answer the first packet arrives, CHECK tells what is
# broken, DEL leaves nothing, and an ADD that fails leaves nothing either.
#
#      ms          hv1                    hv2
#                  pod1 ── first ping ──> pod2      addresses by host-local
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

plugin=$(cd "$(dirname "$0")/../../deploy/cni" && pwd)/eidmap
ipams=/usr/lib/cni

# HV POD COMMAND [CONFIGURATION]: the answer is in $DIR/cni.out.
cni() {
    local hv=$1 pod=$2 command=$3
    printf '%s' "${4-$(conf_of "$hv")}" |
        on "$hv" env MAPCTL="$MAPCTL" CNI_COMMAND="$command" CNI_CONTAINERID="$pod-$T" \
            CNI_NETNS="/run/netns/$T$pod" CNI_IFNAME=eth0 CNI_PATH="$ipams" "$plugin" \
            >"$DIR/cni.out" 2>"$DIR/cni.err"
}

# HV [QUERY]: changed by a jq query.
conf_of() {
    jq -n --arg socket "$DIR/$1.sock" --arg dir "$DIR/ipam-$1" --arg n "${1#hv}" '{
        cniVersion: "1.0.0", name: "pods", network: "red", socket: $socket, timeout: 20,
        ipam: {type: "host-local", dataDir: $dir,
               ranges: [[{subnet: "192.168.7.0/24", rangeStart: "192.168.7.\($n)0",
                          rangeEnd: "192.168.7.\($n)9", gateway: "192.168.7.1"}],
                        [{subnet: "fd07::/64", rangeStart: "fd07::\($n)0",
                          rangeEnd: "fd07::\($n)9"}]],
               routes: [{dst: "0.0.0.0/0"}, {dst: "::/0", gw: "fd07::1"}]}} | '"${2:-.}"
}

answer() { jq -r "$1" "$DIR/cni.out"; }

# CODE WHAT HV POD COMMAND [CONFIGURATION]
refused() {
    local code=$1 what=$2
    shift 2
    ! cni "$@" || fail "$what: not refused"
    [ "$(answer .code)" = "$code" ] && [ -n "$(answer .msg)" ] ||
        fail "$what: expected code $code, got $(cat "$DIR/cni.out" "$DIR/cni.err")"
}

added() { cni "$@" ADD || fail "ADD of $2: $(cat "$DIR/cni.out" "$DIR/cni.err")"; }

default_of() { case $1 in *:*) echo ::/0 ;; *) echo 0.0.0.0/0 ;; esac; }

leases() { find "$DIR/ipam-$1" -type f -name '*.*.*.*' 2>/dev/null | wc -l; }

devices() { ip -n "$T$1" -o link show type veth | grep -c ': em'; }

has_nothing() {
    [ "$(devices "$1")" = 0 ] && [ "$(leases "$1")" = 0 ] &&
        [ "$(xtr_json "$1" length ports)" = 0 ]
}

[ -x $ipams/host-local ] || skip "needs the package containernetworking-plugins"
scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
ctl network add red >/dev/null
for pod in pod1 pod2 pod3; do host $pod; done

cni hv1 pod1 VERSION
must "VERSION names 1.0.0" jq -e '.supportedVersions | index("1.0.0")' "$DIR/cni.out" >/dev/null

added hv2 pod2
target=$(answer '.ips[0].address | sub("/.*"; "")')
target6=$(answer '.ips[1].address | sub("/.*"; "")')
added hv1 pod1
must "the first packet is answered" ping_once pod1 "$target"
must "the first packet is answered, by IPv6" ping_once pod1 "$target6"
cp "$DIR/cni.out" "$DIR/added"
must "the result names the interface, its MAC and the namespace" jq -e \
    --arg mac "$(on pod1 cat /sys/class/net/eth0/address)" --arg ns "/run/netns/${T}pod1" \
    '.interfaces[1] == {name: "eth0", mac: $mac, sandbox: $ns} and (.ips | all(.interface == 1))
     and .routes[0].dst == "0.0.0.0/0"' "$DIR/added" >/dev/null
on pod1 ip route show default | grep -q 'via 192.168.7.1 ' || fail "there is no default route"
must "the port is installed" port_has_phase hv1 "pod1-$T:eth0" installed
on pod1 ip -6 route show default | grep -q 'via fd07::1 ' || fail "there is no IPv6 default route"
shown "ADD comes back when the first packet arrives"

mine=$(conf_of hv1 ". + {prevResult: $(cat "$DIR/added")}")
cni hv1 pod1 CHECK "$mine" || fail "CHECK: $(cat "$DIR/cni.out")"
xtr_stop hv1
refused 11 "a CHECK without an xTR" hv1 pod1 CHECK "$mine"
xtr_start hv1
soon "the port is installed again" port_has_phase hv1 "pod1-$T:eth0" installed
cni hv1 pod1 CHECK "$mine" || fail "CHECK after a restart of the xTR: $(cat "$DIR/cni.out")"
for via in 192.168.7.1 fd07::1; do
    on pod1 ip route delete "$(default_of $via)" via $via
    refused 100 "a container without the route via $via" hv1 pod1 CHECK "$mine"
    must "CHECK names the route" jq -e --arg dst "$(default_of $via)" \
        '.msg | endswith("lost the route to \($dst)")' "$DIR/cni.out" >/dev/null
    on pod1 ip route add "$(default_of $via)" via $via
done
cni hv1 pod1 CHECK "$mine" || fail "CHECK with its routes again: $(cat "$DIR/cni.out")"
on pod1 ip address flush dev eth0
refused 100 "a container without its address" hv1 pod1 CHECK "$mine"
must "CHECK names the address" jq -e '.msg | contains("lost the address 192.168.7.1")' \
    "$DIR/cni.out" >/dev/null
refused 7 "CHECK without the result of ADD" hv1 pod1 CHECK
shown "CHECK tells what is broken"

refused 4 "a second ADD for the same interface" hv1 pod1 ADD
refused 1 "a version that nobody knows" hv1 pod3 ADD "$(conf_of hv1 '.cniVersion = "9.0.0"')"
refused 7 "an IPAM plugin that is not there" hv1 pod3 ADD "$(conf_of hv1 '.ipam.type = "none"')"
refused 7 "an IPAM plugin with a path" hv1 pod3 ADD "$(conf_of hv1 '.ipam.type = "../../bin/sh"')"
refused 6 "a configuration that is no JSON" hv1 pod3 ADD "nonsense"
refused 6 "no configuration" hv1 pod3 ADD ""
refused 11 "a network that is not there" hv1 pod3 ADD \
    "$(conf_of hv1 '.network = "blue" | .timeout = 1')"
must "it says which" jq -e '.details | contains("no network blue")' "$DIR/cni.out" >/dev/null
refused 100 "an address of another port" hv1 pod3 ADD "$(conf_of hv1 ".ipam.ranges =
    [[{subnet: \"192.168.7.0/24\", rangeStart: \"$target\", rangeEnd: \"$target\"}]]")"
must "the pod's own ADD has left one lease" [ "$(leases hv1)" = 1 ]
must "and one device" [ "$(devices hv1)" = 1 ]
xtr_stop hv1
refused 11 "an ADD without an xTR" hv1 pod3 ADD
must "its address is given back, and the map may have it" [ "$(leases hv1)" = 2 ]
must "its device is left" [ "$(devices hv1)" = 1 ]
refused 11 "a DEL without an xTR" hv1 pod1 DEL
must "the address is not given back before the port is gone" [ "$(leases hv1)" = 2 ]
xtr_start hv1
cni hv1 pod3 DEL || fail "DEL of an ADD that failed: $(cat "$DIR/cni.out")"
must "DEL gives its address back" [ "$(leases hv1)" = 1 ]
shown "what fails says why, and leaves nothing behind"

server_stop
refused 11 "a DEL without a map server" hv1 pod1 DEL "$(conf_of hv1 '.timeout = 1')"
must "the address is given back while the map has it" [ "$(leases hv1)" = 1 ]
refused 11 "an ADD without a map server" hv1 pod3 ADD "$(conf_of hv1 '.timeout = 1')"
must "the address is given back, and the map may have it" [ "$(leases hv1)" = 2 ]
server_start
cni hv1 pod3 DEL || fail "DEL of an ADD that failed: $(cat "$DIR/cni.out")"
cni hv1 pod1 DEL || fail "DEL: $(cat "$DIR/cni.out")"
must "the map has what DEL has given back" not ctl resolve red \
    "$(jq -r '.ips[0].address | sub("/.*"; "")' "$DIR/added")"
cni hv1 pod1 DEL || fail "a second DEL: $(cat "$DIR/cni.out")"
must "DEL leaves nothing" has_nothing hv1
ip netns delete "${T}pod2"
cni hv2 pod2 DEL || fail "DEL of a container that is gone: $(cat "$DIR/cni.out")"
must "DEL leaves nothing where the container went first" has_nothing hv2
shown "DEL leaves nothing, and may be repeated"
