# The guest "b" that migrates live between hv1 and hv2: its machine, its ports, the counts of its
# pings.  Sourced after lib.sh; the network is red, and hv3 has a vxlan device by a port "a".
# shellcheck shell=dash

: "${MACHINE:=build/dev/tests/net/machine}"
MAC=02:00:00:00:00:02 IP4=192.168.7.2 IP6=fd07::2

# The guest runs at hv1; it is attached nowhere.
machine_open() {
    host b
    mkfifo "$DIR/orders"
    daemon_start machine net "$MACHINE" "$DIR/orders" "${T}b" eth0 $MAC $IP4 $IP6 \
        "${T}hv1" t-b "${T}hv2" t-b
    soon "the machine has its devices" grep -q ready "$DIR/machine.log"
    vm_address b $MAC $IP4 $IP6
}

# What the kernel has on the way out of a device of ours, at HV.
filters() { tc -n "$T$1" filter show dev "$2" egress 2>/dev/null | grep -c mirred; }

# HV VM: a frame to b goes to the target, too; VM is one there, or b itself.
mirrors() {
    local device=t-b
    if [ "$PLANE" = ovs ]; then
        ofctl "$1" dump-flows "table=120,dl_dst=$MAC" | grep -q 'tun_dst'
        return
    fi
    [ "$2" = b ] || device=$(vxlan_of "$1" "$2")
    [ "$(filters "$1" "$device")" -ge 1 ]
}

has_copies() {
    if [ "$PLANE" = ovs ]; then
        mirrors "$1" ''
    else
        ip -n "$T$1" -o link show type vxlan | grep -q ' emc'
    fi
}

has_one_copy() { [ "$PLANE" = ovs ] || [ "$(filters hv3 "$(vxlan_of hv3 a)")" = 1 ]; }
at_hv() { case $1 in 0) echo hv1 ;; 1) echo hv2 ;; esac; }
state_at() { ctl_json ".locations[] | select(.node_id == \"$1\") | .state" port show b; }
is_pending_at() { [ "$(state_at "$1")" = pending ]; }
is_only_at() { [ "$(ctl_json '[.locations[] | .node_id, .state] | join(" ")' port show b)" = "$1 active" ]; }
n_moves() { grep -c runs "$DIR/machine.log" || true; }
has_moved() { [ "$(n_moves)" -gt "$1" ]; }

# LEG: the port is prepared to move there, all agents copy, the target listens.
prepare() {
    local to from
    to=$(at_hv "$1") from=$(at_hv $((1 - $1)))
    ctl port move b --to "$to" --prepare >/dev/null
    must "b is not pending at $to" is_pending_at "$to"
    vm_attach b "$to" red --pending
    must "b is not pending in $to" port_has_phase "$to" b pending
    soon "hv3 sends copies" mirrors hv3 a
    soon "$from sends copies" mirrors "$from" b
}

# LEG HOW [MS]: the guest runs there from now on.
go() {
    local n
    n=$(n_moves)
    echo "$*" >"$DIR/orders"
    soon "the guest has moved" has_moved "$n"
}

# What came twice, of the last ping.
n_twice() { grep -c 'DUP!' "$DIR/ping.log" || true; }

# A machine on which others work too takes longer than 5 ms for anything.
is_overloaded() {
    [ "$(awk '{ print int($1) }' /proc/loadavg)" -ge "$(nproc)" ]
}

verdict() {
    local what=$1 most=${MOST_LOST:-5}
    ping_stop
    shown "$what: $lost of $((answered + lost)) pings lost, $(n_twice) twice," \
        "longest silence $silence ms"
    if is_overloaded; then most=50; fi
    # An operator's word comes when it comes, not when the guest does.
    if [ "${2:-}" = none ]; then most=$((most + 50)); fi
    [ "$lost" -le $most ] || fail "$what: $lost pings lost"
    [ "$(n_twice)" = 0 ] || fail "$what: $(n_twice) answers came twice"
}

# LEG HOW ADDRESS BY: a whole migration under the ping.
migrate() {
    local to from
    to=$(at_hv "$1") from=$(at_hv $((1 - $1)))
    prepare "$1"
    ping_start "$4" "$3" 0.001
    go "$1" "$2"
    if [ "$2" = none ]; then ctl port move b --activate >/dev/null; fi
    soon "b is at $to alone" is_only_at "$to"
    soon "$to has it" port_has_phase "$to" b installed
    soon "$from gives it up" port_has_phase "$from" b refused
    verdict "by $2 to $to, from $4" "$2"
    for hv in hv3 "$from"; do
        if mirrors "$hv" a; then fail "$hv still copies"; fi
    done
}
