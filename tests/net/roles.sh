#!/bin/sh
# Who may do what, by certificate, over TLS: an operator may do all, a node only what is
# its own, a stranger nothing.
#
#      ms  <── TLS ──  net (10.0.0.20: the operator's shell)
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

# DIRECTORY NAME COMMAND...: mapctl over TLS with that certificate.
as() {
    local dir=$1 name=$2
    shift 2
    on op "$MAPCTL" -s 10.0.0.10:4342 --ca "$DIR/pki/ca.crt" \
        --cert "$dir/$name.crt" --key "$dir/$name.key" "$@"
}

# WHAT STATUS PATTERN COMMAND...: it ends with that status, and one line that matches.
refuses() {
    local what=$1 status=$2 pattern=$3 code=0
    shift 3
    "$@" >"$DIR/out" 2>"$DIR/err" || code=$?
    [ $code = "$status" ] || fail "$what: exit status $code, expected $status: $(cat "$DIR/err")"
    [ "$(wc -l <"$DIR/err")" = 1 ] || fail "$what: not one line: $(cat "$DIR/err")"
    grep -qiE "$pattern" "$DIR/err" || fail "$what: no /$pattern/ in: $(cat "$DIR/err")"
    shown "$what: $(cat "$DIR/err")"
}

scene_open
server_open
underlay_host op 20
unset EIDMAP_SERVERS
pki=$DIR/pki
for node in hv1 hv2; do "$MAPCTL" --pki "$pki" pki node $node >/dev/null; done

as "$pki" operator-op network add red --vni 100 --subnet 192.168.7.0/24 >/dev/null ||
    fail "an operator may add a network"
as "$pki" operator-op node set hv1 --label rack=1 >/dev/null || fail "an operator may declare a node"
as "$pki" operator-op port register web --network red --mac 02:00:00:00:00:01 \
    --ip 192.168.7.1 --node hv1 --allow hv1 >/dev/null || fail "an operator may register a port"
[ "$(as "$pki" operator-op -o json resolve red 192.168.7.1 |
    jq -r '.answers[0].port.locations[0].node_id')" = hv1 ] || fail "the port is not where it was put"
shown "an operator adds a network and a port over TLS 1.3"

refuses "a node adds a network" 1 'denied|may not|operator' as "$pki" node-hv1 network add blue
as "$pki" node-hv2 port remove web >/dev/null 2>&1 || true # what is not its own is not there
refuses "a node moves a port to another" 1 'hv2' as "$pki" node-hv2 port move web --to hv1
refuses "a node takes a port that it may not have" 1 'operator' as "$pki" node-hv2 port move web --to hv2
refuses "an address outside the subnet" 1 '192.168.8.1' as "$pki" operator-op port register far \
    --network red --mac 02:00:00:00:00:09 --ip 192.168.8.1
refuses "an address that another port holds" 1 'web' as "$pki" operator-op port register thief \
    --network red --mac 02:00:00:00:00:02 --ip 192.168.7.1
[ "$(as "$pki" operator-op -o json resolve red 192.168.7.1 |
    jq -r '.answers[0].port.locations[0].node_id')" = hv1 ] || fail "a refused call has changed the map"
shown "the map is as it was"

"$MAPCTL" pki init "$DIR/other" >/dev/null
"$MAPCTL" --pki "$DIR/other" pki operator op >/dev/null

# The same name and role, signed by the right CA, but a day too late.
cp "$pki/operator-op.key" "$DIR/late.key"
openssl req -new -key "$DIR/late.key" -subj /CN=op -out "$DIR/late.csr" 2>/dev/null
printf 'subjectAltName=URI:eidmap://operator/op\nextendedKeyUsage=clientAuth\n' >"$DIR/late.ext"
openssl x509 -req -in "$DIR/late.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -days -1 \
    -extfile "$DIR/late.ext" -out "$DIR/late.crt" 2>/dev/null

refuses "mapctl with another CA's certificate" 2 'issuer' as "$DIR/other" operator-op status
refuses "mapctl with an expired certificate" 2 'expired' as "$DIR" late status
refuses "no map server there" 3 '10.0.0.10:4343|refused' \
    on op "$MAPCTL" -s 10.0.0.10:4343 --pki "$pki" -t 3 status

# mapctl looks at its own certificate before it goes; a foreign client does not.
server_alerts() {
    local what=$1 alert=$2
    shift 2
    on op timeout 20 openssl s_client -connect 10.0.0.10:4342 -tls1_3 -alpn eidmap/1 \
        -CAfile "$pki/ca.crt" -ign_eof "$@" </dev/null >"$DIR/out" 2>&1 || true
    grep -q "alert $alert" "$DIR/out" || fail "$what: no alert: $(cat "$DIR/out")"
    shown "$what: alert $alert"
}
server_alerts "the server and another CA's certificate" 'unknown ca' \
    -cert "$DIR/other/operator-op.crt" -key "$DIR/other/operator-op.key"
server_alerts "the server and an expired certificate" 'certificate expired' \
    -cert "$DIR/late.crt" -key "$DIR/late.key"
server_alerts "the server and no certificate" 'certificate required'
as "$pki" operator-op status >/dev/null || fail "the right certificate is refused now"
