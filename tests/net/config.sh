#!/bin/sh
# Ports of the configuration file, and networks that come and go with their ports: an xTR
# holds the networks that have a port on its host, and no other.
#
#      hv1                      hv2
#       a (red, in the file)     b (red)
#       c (blue, by SIGHUP)      d (blue)
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

file_port() { echo "  - {id: $1, network: $2, device: t-$1, mac: 02:00:00:00:00:0$3, ips: [192.168.7.$3]}"; }

subscriptions() { ctl_json ".sessions[] | select(.name == \"$1\") | .subscriptions" status --sessions; }

has_subscriptions() { [ "$(subscriptions "$1")" = "$2" ]; }

knows() { xtr_json "$1" ".[] | select(.kind == \"port\") | .record.id" cache | grep -qx "$2"; }

n_bridges() { [ "$(on "$1" ip -br link show type bridge | wc -l)" = "$2" ]; }

scene_open
server_open
ctl network add red >/dev/null
ctl network add blue >/dev/null
xtr_open hv2 2
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm d hv2 02:00:00:00:00:04 192.168.7.4
vm_attach b hv2 red
vm_attach d hv2 blue

xtr_open hv1 1 "ports:
$(file_port a red 1)"
soon "the port waits for its device" port_has_phase hv1 a waiting
vm a hv1 02:00:00:00:00:01 192.168.7.1
soon "the port of the file is installed when its device is there" port_has_phase hv1 a installed
ping_well a 192.168.7.2
soon "hv1 subscribes to nodes and red" has_subscriptions hv1 2
must "hv1 has the port of red" knows hv1 b
must "hv1 has a port of blue" not knows hv1 d
must "hv1 has one bridge" n_bridges hv1 1
shown "a port of the file, and the network it needs, no other"

vm c hv1 02:00:00:00:00:03 192.168.7.3
file_port c blue 3 >>"$DIR/hv1.yaml"
daemon_signal hv1 HUP
soon "the port that was added is installed" port_has_phase hv1 c installed
ping_well c 192.168.7.4
must "hv1 has a port of blue now" knows hv1 d
shown "a port added by SIGHUP brings its network"

sed -i '/id: c,/d' "$DIR/hv1.yaml"
daemon_signal hv1 HUP
soon "the port is gone from the map" not ctl resolve blue port:c
soon "hv1 leaves blue" has_subscriptions hv1 2
soon "blue is gone from the kernel" n_bridges hv1 1
must "hv1 still has a port of blue" not knows hv1 d
ping_well a 192.168.7.2
xtrs_agree hv1 hv2
shown "the last port takes its network along"

echo 'log: loud' >>"$DIR/hv1.yaml"
daemon_signal hv1 HUP
soon "the fault is logged with its place" grep -q 'hv1.yaml:[0-9]*:[0-9]*: log: expected' "$DIR/hv1.log"
ping_well a 192.168.7.2
must "the port is untouched" port_has_phase hv1 a installed
shown "a faulty file changes nothing"

# LINE PATTERN: a map server's configuration with this line is refused like that.
check_refuses() {
    echo "$1" >"$DIR/check.yaml"
    ! "$MAPSERVER" --check-config --config "$DIR/check.yaml" >/dev/null 2>"$DIR/check.err" &&
        grep -q "$2" "$DIR/check.err"
}

must "files that are not there are told" \
    check_refuses 'tls: {ca: /none/ca.crt, cert: /none/ms.crt, key: /none/ms.key}' '/none/.*No such'
code=0
timeout 5 "$MAPSERVER" --yes --config "$DIR/ms.yaml" 2>"$DIR/check.err" || code=$?
must "--yes alone: code $code, $(cat "$DIR/check.err")" [ $code = 2 ]
must "--yes alone: $(cat "$DIR/check.err")" grep -q 'only with --recover' "$DIR/check.err"
shown "a check of the configuration says what a start would say"
