# A small data centre in network namespaces: what the net tests and the demo stand on.
#
#        underlay 10.0.0.0/24, fd00::/64 (a bridge in the namespace "net")
#      ────┬──────────────┬──────────────┬──────────────┬────
#         ms             hv1            hv2            hv3
#        .10              .1             .2             .3      eth0
#      mapserver         xtr            xtr            xtr
#                         │ t-NAME (veth end; the "tap")
#                        NAME           a "VM": eth0 with its own MAC and addresses
#
# PLANE=ovs gives every hypervisor an Open vSwitch (ovs.sh) in place of the kernel's bridges.
#
# Sourced with MAPSERVER, XTR and MAPCTL naming the programs.  Namespaces are called
# $T<host>; files live in $DIR.  Everything waits on conditions, never on time.  Where
# PAUSE=1, a scene stays until Enter is pressed.
# shellcheck shell=dash

: "${T:=em$$}"
: "${DIR:=}"
: "${MAPSERVER:=build/dev/mapserver/mapserver}"
: "${XTR:=build/dev/xtr/xtr}"
: "${MAPCTL:=build/dev/cli/mapctl}"
# A story calls it some hundred times, and an instrumented one takes ten times as long.
MAPCTL=${EIDMAP_MAPCTL:-$MAPCTL}
: "${BITS:=24}" # of the IPv4 underlay
: "${PLANE:=kernel}"
: "${SERVERS:=}" # that xTRs are given, where it is not the one

if [ "$PLANE" = ovs ]; then
    . "${SUPPORT:-$(dirname "$0")/../support/net}/ovs.sh"
fi

# ------------------------------------------------------------------ small words

host() {
    ip netns add "$T$1"
    ip -n "$T$1" link set lo up
}

on() {
    local h=$1
    shift
    ip netns exec "$T$h" "$@"
}

# Tries for 20 s: a loaded machine under sanitizers is slow, a failure is rare.  To ask costs more
# than to wait, for the other tests that run.
eventually() {
    local up end pause=.02
    read -r up _ </proc/uptime
    end=$((${up%.*} + 20))
    until "$@"; do
        read -r up _ </proc/uptime
        [ "${up%.*}" -le $end ] || return 1
        sleep $pause
        case $pause in .02) pause=.05 ;; .05) pause=.1 ;; .1) pause=.2 ;; *) pause=.3 ;; esac
    done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

skip() {
    echo "SKIPPED: $*"
    exit 77
}

not() { ! "$@" >/dev/null 2>&1; }

# A line that says what has just been shown.
shown() { echo "  ok: $*"; }

# The command succeeds now / within a while, or the test fails with a sentence.
must() {
    local what=$1
    shift
    "$@" || fail "$what"
}

soon() {
    local what=$1
    shift
    eventually "$@" || fail "$what (waited for: $*)"
}

# ------------------------------------------------------------- begin and end

# Skips, with the reason, where the machine cannot hold the scene.
require() {
    local why
    [ "$(id -u)" = 0 ] || skip "needs root to make network namespaces"
    why=$(ip netns add "${T}try" 2>&1) || skip "cannot make network namespaces: $why"
    why=$(ip -n "${T}try" link add v0 type vxlan id 1 dstport 4789 local 127.0.0.1 2>&1) || {
        ip netns del "${T}try"
        skip "cannot make vxlan devices: $why"
    }
    ip netns del "${T}try"
}

scene_open() {
    require
    [ "$PLANE" = kernel ] || ovs_require
    DIR=$(mktemp -d "/tmp/$T.XXXXXX")
    trap scene_close EXIT
    trap 'exit 130' INT TERM HUP
    pki_make
    underlay_make
}

pki_make() {
    "$MAPCTL" pki init "$DIR/pki" >/dev/null
    "$MAPCTL" --pki "$DIR/pki" pki operator op >/dev/null
}

underlay_make() {
    host net
    ip -n "${T}net" link add br0 type bridge mcast_snooping 0
    ip -n "${T}net" link set br0 up
}

# Ends what runs and gives the machine back.  A daemon that did not end well, or a
# sanitizer's report, fails the test here.
scene_close() {
    local code=$?
    trap - EXIT INT TERM HUP
    set +e
    if [ "${PAUSE:-}" = 1 ]; then
        echo "PAUSE: namespaces $T*, files in $DIR; Enter ends it"
        read -r _ </dev/tty
    fi
    daemons_end || code=1
    if [ $code != 0 ] && [ $code != 77 ]; then
        logs_show
    fi
    namespaces_remove
    rm -rf "$DIR"
    exit $code
}

namespaces_remove() {
    local ns
    for ns in $(ip netns list | awk -v t="$T" 'index($1, t) == 1 { print $1 }'); do
        ip netns del "$ns"
    done
}

logs_show() {
    local log
    for log in "$DIR"/*.log; do
        [ -s "$log" ] || continue
        echo "--- ${log##*/}"
        grep -v 'info: operator ' "$log" | tail -n 30
    done >&2
}

# ------------------------------------------------------------------- daemons

# NAME HOST COMMAND...; its process id stands in $DIR/NAME.pid, its output in NAME.log.
daemon_start() {
    local name=$1 h=$2
    shift 2
    ip netns exec "$T$h" "$@" >>"$DIR/$name.log" 2>&1 </dev/null &
    echo $! >"$DIR/$name.pid"
}

daemon_pid() { cat "$DIR/$1.pid"; }

# One that has ended cannot be waited for.
is_alive() { readlink "/proc/$(daemon_pid "$1")/exe" >/dev/null || fail "$1 has ended"; }

daemon_signal() { kill -s "$2" "$(daemon_pid "$1")"; }

# NAME SIGNAL: ends it; gives its exit status.
daemon_end() {
    local pid
    pid=$(daemon_pid "$1")
    rm "$DIR/$1.pid"
    kill -s "$2" "$pid"
    wait "$pid" 2>/dev/null # the shell's word about it
}

# As a service manager does: SIGTERM has to end with 0, SIGKILL ends it in any case.
daemon_stop() {
    local code=0
    daemon_end "$1" "$2" || code=$?
    case $2:$code in
    TERM:0 | KILL:137) ;;
    *) fail "$1 ended with $code on SIG$2" ;;
    esac
}

daemons_end() {
    local file name code bad=0
    for file in "$DIR"/*.pid; do
        [ -e "$file" ] || continue
        name=${file##*/}
        name=${name%.pid}
        kill -s CONT "$(cat "$file")" 2>/dev/null
        code=0
        daemon_end "$name" TERM || code=$?
        case $name:$code in
        cap-*:* | ping*:* | ovsdb-*:143 | vswitchd-*:143 | *:0) ;;
        *) echo "FAILED: $name ended with $code" >&2 && bad=1 ;;
        esac
    done
    if grep -lE 'AddressSanitizer|LeakSanitizer|runtime error:' "$DIR"/*.log 2>/dev/null; then
        echo "FAILED: a sanitizer has reported" >&2 && bad=1
    fi
    return $bad
}

# --------------------------------------------------------------- underlay

# NAME N: a host on the underlay with 10.0.0.N and fd00::N.
underlay_host() {
    host "$1"
    ip -n "${T}net" link add "p-$1" type veth peer name eth0 netns "$T$1"
    ip -n "${T}net" link set "p-$1" master br0 up
    ip -n "$T$1" link set eth0 up
    ip -n "$T$1" address add "10.0.0.$2/$BITS" dev eth0
    ip -n "$T$1" address add "fd00::$2/64" dev eth0 nodad
    [ "$PLANE" = kernel ] || no_offload "$1" eth0
    : >"$DIR/$1.log"
}

# ------------------------------------------------------------- map server

# [LINES]: makes its host and starts it; LINES are further configuration.  Listens on
# TLS in the underlay and on $DIR/ms.sock.
server_open() {
    "$MAPCTL" --pki "$DIR/pki" pki server ms1 >/dev/null
    underlay_host ms 10
    cat >"$DIR/ms.yaml" <<END
server_id: ms1
data_dir: $DIR/ms
listen: ["tls://10.0.0.10:4342", "tls://[fd00::10]:4342", "unix:$DIR/ms.sock"]
tls: {ca: $DIR/pki/ca.crt, cert: $DIR/pki/server-ms1.crt, key: $DIR/pki/server-ms1.key}
${1:-}
END
    EIDMAP_SERVERS=unix:$DIR/ms.sock
    export EIDMAP_SERVERS
    server_start
}

server_start() {
    daemon_start ms ms "$MAPSERVER" --config "$DIR/ms.yaml"
    soon "the map server answers" server_answers
}

server_answers() { is_alive ms && "$MAPCTL" -t 1 status >/dev/null 2>&1; }

server_stop() { daemon_stop ms "${1:-TERM}"; }

# ---------------------------------------------------------- several map servers

# N [LINES]: ms1 to msN, each on a host of its own (10.0.0.11 and so on) and on
# $DIR/msI.sock; ms1 begins, the others are added.  xTRs that are opened afterwards know all.
cluster_open() {
    local i
    EIDMAP_SERVERS='' SERVERS=''
    for i in $(seq "$1"); do
        "$MAPCTL" --pki "$DIR/pki" pki server "ms$i" >/dev/null
        underlay_host "ms$i" $((10 + i))
        replica_configure "$i" "${2:-}"
        EIDMAP_SERVERS=$EIDMAP_SERVERS${EIDMAP_SERVERS:+,}unix:$DIR/ms$i.sock
        SERVERS=$SERVERS${SERVERS:+, }'"tls://10.0.0.'$((10 + i)):4342'"'
        replica_start "ms$i"
    done
    export EIDMAP_SERVERS
    for i in $(seq 2 "$1"); do
        on_server ms1 member add "ms$i" "10.0.0.$((10 + i)):4343" >/dev/null
    done
    soon "the map servers are a cluster" cluster_is_whole
}

replica_configure() {
    local join=true
    [ "$1" != 1 ] || join=false
    cat >"$DIR/ms$1.yaml" <<END
server_id: ms$1
data_dir: $DIR/ms$1
listen: ["tls://10.0.0.$((10 + $1)):4342", "unix:$DIR/ms$1.sock"]
peers: {listen: "tls://10.0.0.$((10 + $1)):4343"}
join: $join
tls: {ca: $DIR/pki/ca.crt, cert: $DIR/pki/server-ms$1.crt, key: $DIR/pki/server-ms$1.key}
${2:-}
END
}

replica_start() {
    daemon_start "$1" "$1" "$MAPSERVER" --config "$DIR/$1.yaml"
    soon "$1 answers" replica_answers "$1"
}

replica_answers() { is_alive "$1" && on_server "$1" -t 1 status >/dev/null 2>&1; }

# SERVER ARGUMENTS...: mapctl, asking this one.
on_server() {
    local name=$1
    shift
    "$MAPCTL" -s "unix:$DIR/$name.sock" "$@"
}

# As a server that runs says; nothing while there is none.
leader() { ctl_json .leader -t 2 status 2>/dev/null; }

leads() { [ "$(on_server "$1" -t 2 -o json status 2>/dev/null | jq -r .raft_role)" = leader ]; }

# All are voters, and the leader hears all and has nothing that they have not.
cluster_is_whole() {
    local name
    name=$(leader)
    [ -n "$name" ] && on_server "$name" -t 2 -o json member list 2>/dev/null |
        jq -e 'all(.[]; .role == "voter" and .connected and .lag == 0)' >/dev/null
}

# ------------------------------------------------------------------- the map

# mapctl as the machine's root, over the unix socket.
ctl() { "$MAPCTL" "$@"; }

# mapctl's JSON through jq: "QUERY ARGUMENTS..."
ctl_json() {
    local query=$1
    shift
    "$MAPCTL" -o json "$@" | jq -r "$query"
}

# NETWORK EID: "NODE:VNI", where the map says it is.
where() {
    ctl_json '.answers[0].port.locations[0] | "\(.node_id):\(.segmentation_id)"' resolve "$@"
}

lives_at() {
    case $(where "$1" "$2") in
    "$3":*) ;;
    *) return 1 ;;
    esac
}

# --------------------------------------------------------------------- xTRs

# NAME N [LINES]: makes hypervisor NAME with 10.0.0.N and fd00::N and starts its xTR.
# LINES are further configuration; FAMILY=6 puts RLOC and map server on IPv6; RLOCS are others, in
# quotes.
xtr_open() {
    if [ "$PLANE" = ovs ]; then
        ovs_xtr_open "$@"
        return
    fi
    "$MAPCTL" --pki "$DIR/pki" pki node "$1" >/dev/null
    underlay_host "$1" "$2"
    xtr_configure "$@"
    xtr_start "$1"
}

xtr_configure() {
    local servers=${SERVERS:-'"tls://10.0.0.10:4342"'} rloc=10.0.0.$2
    if [ "${FAMILY:-4}" = 6 ]; then
        servers='"tls://[fd00::10]:4342"' rloc=fd00::$2
    fi
    cat >"$DIR/$1.yaml" <<END
node_id: $1
servers: [$servers]
tls: {ca: $DIR/pki/ca.crt, cert: $DIR/pki/node-$1.crt, key: $DIR/pki/node-$1.key}
rloc: [${RLOCS:-"\"$rloc\""}]
control: {path: $DIR/$1.sock}
state_dir: $DIR/$1
${3:-}
END
}

xtr_start() {
    daemon_start "$1" "$1" "$XTR" --config "$DIR/$1.yaml"
    soon "the xTR of $1 answers" xtr_answers "$1"
}

xtr_stop() { daemon_stop "$1" "${2:-TERM}"; }

# HV ARGUMENTS...: "mapctl xtr ARGUMENTS" at that hypervisor.
xtr() {
    local hv=$1
    shift
    "$MAPCTL" xtr "$@" -S "$DIR/$hv.sock"
}

xtr_json() {
    local hv=$1 query=$2
    shift 2
    "$MAPCTL" -o json xtr "$@" -S "$DIR/$hv.sock" | jq -r "$query"
}

xtr_answers() { is_alive "$1" && xtr "$1" status -t 1 >/dev/null 2>&1; }

# It is connected, its map-cache says of its networks what the map says to this node, and the
# data plane has all of that.
xtr_is_synced() {
    {
        "$MAPCTL" -o json xtr status -S "$DIR/$1.sock"
        "$MAPCTL" -o json xtr ports -S "$DIR/$1.sock"
        "$MAPCTL" -o json xtr cache -S "$DIR/$1.sock"
        "$MAPCTL" -o json node list
        "$MAPCTL" -o json network list
        "$MAPCTL" -o json port list
    } 2>/dev/null | jq -es --arg node "$1" '
        def kept($kind): map(select(.kind == $kind) | .record);
        def nodes: map({id, rlocs, state}) | sort_by(.id);
        def ports($ids): map(select(.network_id | IN($ids[])) | {id, eids,
            at: [.locations[] | select(.view.node_id | . == null or . == $node)
                | [.node_id, .segmentation_id]]}) | sort_by(.id);
        . as [$status, $local, $cache, $nodes, $networks, $ports]
        | [$local[] | select(.phase != "refused") | .network] as $names
        | [$networks[] | select(.name | IN($names[])) | .id] as $ids
        | $status.server != "" and $status.installed_revision == $status.revision
          and ($cache | kept("node") | nodes) == ($nodes | nodes)
          and ($cache | kept("port") | ports($ids)) == ($ports | ports($ids))' >/dev/null
}

xtr_is_clean() { xtr "$1" check >"$DIR/check.out" 2>&1; }

# HV...: each has the whole map in its kernel, entry by entry.
xtrs_agree() {
    local hv
    for hv; do
        soon "$hv has the whole map" xtr_is_synced "$hv"
        xtr_is_clean "$hv" || fail "$hv: map and kernel differ: $(cat "$DIR/check.out")"
    done
}

# Phase of a local port: "installed" and so on.
port_phase() {
    xtr_json "$1" ".[] | select(.id == \"$2\") | .phase" ports 2>/dev/null
}

port_has_phase() { [ "$(port_phase "$1" "$2")" = "$3" ]; }

# --------------------------------------------------------------------- VMs

# NAME HV MAC ADDRESS...: a namespace whose eth0 is the other end of t-NAME in HV.
vm() {
    local name=$1 hv=$2 mac=$3
    shift 3
    host "$name"
    ip -n "$T$hv" link add "t-$name" type veth peer name eth0 address "$mac" netns "$T$name"
    vm_address "$name" "$mac" "$@"
    ip -n "$T$hv" link set "t-$name" up
}

# The guest speaks only when spoken to: no address but those given, no IPv6 autoconfiguration.
vm_address() {
    local name=$1 a
    echo "--mac $2" >"$DIR/$name.vm"
    shift 2
    ip -n "$T$name" link set eth0 addrgenmode none mtu "${VM_MTU:-1450}" up
    [ "$PLANE" = kernel ] || no_offload "$name" eth0
    for a; do
        echo "--ip $a" >>"$DIR/$name.vm"
        case $a in
        *:*) ip -n "$T$name" address add "$a/64" dev eth0 nodad ;;
        *) ip -n "$T$name" address add "$a/24" dev eth0 ;;
        esac
    done
}

# VM HV NETWORK [OPTIONS]: attaches it as the port VM; comes back when it is installed.
vm_attach() {
    local name=$1 hv=$2 network=$3
    shift 3
    # shellcheck disable=SC2046 # a list of words
    xtr "$hv" attach "$name" --network "$network" --dev "t-$name" $(cat "$DIR/$name.vm") "$@" \
        >"$DIR/attach.out"
}

# A guest that is about to move: its eth0 is a bridge with a leg in each of two
# hypervisors, and it hears on both.  It answers on the leg where it was asked, so what is
# lost in a move is lost by the network alone, as when a migrated guest's memory is the
# same on both sides.
vm_twin() {
    local name=$1 from=$2 to=$3 mac=$4 leg
    shift 4
    host "$name"
    ip -n "$T$name" link add eth0 address "$mac" type bridge mcast_snooping 0
    for leg in "$from" "$to"; do
        ip -n "$T$leg" link add "t-$name" type veth peer name "$leg" netns "$T$name"
        ip -n "$T$name" link set "$leg" master eth0 addrgenmode none up
        ip -n "$T$name" link set "$leg" type bridge_slave isolated on
        ip -n "$T$leg" link set "t-$name" up
    done
    vm_address "$name" "$mac" "$@"
}

# ------------------------------------------------------- networks that are resolved

# HV: ports of the map in its map-cache.
cached() { xtr_json "$1" '[.[] | select(.kind == "port")] | length' cache; }

# HV ADDRESS: its kernel answers for the address.
knows() {
    if [ "$PLANE" = ovs ]; then
        ofctl "$1" dump-flows table=110 | grep -qE "(arp_tpa|nd_target)=$2,.*xreg1"
    else
        on "$1" ip neigh show "$2" proto 225 | grep -q lladdr
    fi
}

# HV NAME: of the counter "n_NAME" in its status.
misses() { xtr_json "$1" ".n_$2" status; }

# HV VM: the agent reads what the VM's network does not know.
has_miss_port() {
    if [ "$PLANE" = ovs ]; then
        ofctl "$1" dump-flows table=120 | grep -q CONTROLLER
    else
        on "$1" ip link show master "$(bridge_of "$1" "$2")" | grep -q ': emt.*LOWER_UP'
    fi
}

# FROM ADDRESS: one ping, which must not be lost; its time in ms.
first_ping() {
    on "$1" ping -n -c 1 -W 3 "$2" >"$DIR/first.out" 2>&1 ||
        { cat "$DIR/first.out" >&2; fail "the first packet from $1 to $2 is lost"; }
    sed -n 's/.*time=\([0-9.]*\) ms.*/\1/p' "$DIR/first.out"
}

# The middle one of the numbers, a line each.
median() { sort -n | awk '{ at[NR] = $1 } END { print at[int((NR + 1) / 2)] }'; }

# ------------------------------------------------------------------ witnesses

# FROM ADDRESS [OPTIONS]
ping_once() {
    local from=$1 to=$2
    shift 2
    on "$from" ping -n -c 1 -W 1 "$@" "$to" >/dev/null 2>&1
}

# ping's answer to twenty in a row: were none lost?
ping_loses_none() {
    local from=$1 to=$2
    shift 2
    on "$from" ping -n -q -c 20 -i 0.005 -W 2 "$@" "$to" >"$DIR/ping.out" 2>&1 &&
        grep -q ' 0% packet loss' "$DIR/ping.out"
}

# What this kernel has dropped of packets between its own devices, on each processor: it does so when
# other tests send more than it has time for.
kernel_drops() { cut -d' ' -f2 /proc/net/softnet_stat; }

# Twenty in a row, none lost, once the first has come through.  Once more where it may have been
# somebody else's doing: the kernel's, see above, or that of Open vSwitch's userspace datapath, which
# drops what it has no flow for while ovs-vswitchd looks at a change of its database.
ping_well() {
    local before
    soon "$1 reaches $2" ping_once "$@"
    before=$(kernel_drops)
    if ping_loses_none "$@"; then return; fi
    cat "$DIR/ping.out" >&2
    if [ -z "${OVS_SCHEMA:-}" ] && [ "$(kernel_drops)" = "$before" ]; then
        fail "$1 to $2: packets were lost"
    fi
    ping_loses_none "$@" || { cat "$DIR/ping.out" >&2; fail "$1 to $2: packets were lost, twice"; }
}

# FROM ADDRESS [SECONDS]: a ping every 10 ms (or so) that goes on until ping_stop.
ping_start() {
    : >"$DIR/ping.log"
    daemon_start ping "$1" ping -n -D -i "${3:-0.01}" "$2"
    ping_more 10
}

ping_answers() { grep -c 'bytes from' "$DIR/ping.log"; }

ping_has() { [ "$(ping_answers)" -ge "$1" ]; }

# N: waits for that many more answers: the path works now.
ping_more() { soon "pings are answered" ping_has $(($(ping_answers) + $1)); }

# Ends it; $lost is how many of the packets before the last answered one had no answer,
# $answered how many had, $silence the longest time between two answers in ms.
ping_stop() {
    ping_more 10
    daemon_end ping INT || fail "ping ended badly"
    # shellcheck disable=SC2046 # three words
    set -- $(awk '/bytes from/ {
        match($0, /icmp_seq=[0-9]+/)
        seq = substr($0, RSTART + 9, RLENGTH - 9) + 0
        now = substr($1, 2) + 0
        if (n && now - last > gap) gap = now - last
        last = now
        if (!seen[seq]++) n++
        if (seq > max) max = seq
    } END { printf "%d %d %.0f\n", max - n, n, gap * 1000 }' "$DIR/ping.log")
    lost=$1 answered=$2 silence=$3
}

ping_lost_at_most() {
    ping_stop
    [ "$lost" -le "$1" ] ||
        fail "$2: $lost of $((answered + lost)) pings lost, longest silence $silence ms"
    shown "$2: $lost of $((answered + lost)) pings lost, longest silence $silence ms"
}

# NAME HOST FILTER...: tcpdump on the host's eth0, as text in $DIR/cap-NAME.log.
capture_start() {
    local name=$1 h=$2
    shift 2
    : >"$DIR/cap-$name.log"
    daemon_start "cap-$name" "$h" tcpdump -i eth0 -n -l --immediate-mode "$@"
    soon "tcpdump listens on $h" grep -q 'listening on' "$DIR/cap-$name.log"
}

capture_sees() { grep -qE "$2" "$DIR/cap-$1.log"; }

capture_count() { grep -cE "$2" "$DIR/cap-$1.log"; }

capture_stop() { daemon_end "cap-$1" INT || true; }

# The vxlan device of the network that VM's tap is in, and its bridge, at HV.
bridge_of() { ip -n "$T$1" -j link show "t-$2" | jq -r '.[0].master // empty'; }

vxlan_of() {
    ip -n "$T$1" -j link show master "$(bridge_of "$1" "$2")" type vxlan | jq -r '.[0].ifname'
}
