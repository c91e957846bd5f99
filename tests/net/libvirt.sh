#!/bin/sh
# Guests by the libvirt hook, called as libvirt does, with a domain's XML: started is attached,
# released is detached; a guest that eidmap is not told of is left alone, and a mistake in the
# metadata is said before the guest starts.
#
#      ms          hv1              hv2
#                  web  ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

hook=$(cd "$(dirname "$0")/../../deploy/libvirt" && pwd)/eidmap

# HV OPERATION XML: the hook's words are in $DIR/hook.out.
hook() {
    on "$1" env PATH="${HOOK_PATH:-$PATH}" MAPCTL="$MAPCTL" EIDMAP_XTR="$DIR/$1.sock" EIDMAP_RUN="$DIR/run-$1" \
        "$hook" web "$2" begin - <"$3" >"$DIR/hook.out" 2>&1
}

# ID-ATTRIBUTE NETWORK METADATA-MAC
domain() {
    cat <<END
<domain type='kvm'>
  <name>web</name>
  <metadata>
    <app:other xmlns:app='http://example.org/app'/>
    <eidmap:ports xmlns:eidmap='urn:eidmap:ports:1'>
      <eidmap:port mac='$3' $1 network='$2' ip='192.168.7.1 fd07::1'/>
    </eidmap:ports>
  </metadata>
  <devices>
    <interface type='ethernet'>
      <mac address='02:00:00:00:00:0a'/>
      <virtualport type='openvswitch'>
        <parameters interfaceid='7b3c9f2e-1111-4222-8333-944455556666'/>
      </virtualport>
      <target dev='t-web'/>
    </interface>
  </devices>
</domain>
END
}

says() { grep -qi "$1" "$DIR/hook.out"; }

command -v xmlstarlet >/dev/null || skip "needs the package xmlstarlet"
scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm web hv1 02:00:00:00:00:0a 192.168.7.1 fd07::1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm_attach b hv2 red

domain "" red 02:00:00:00:00:0A >"$DIR/web.xml"
domain "id='web-1'" "" 02:00:00:00:00:0a >"$DIR/no-network.xml"
domain "id='web-1'" red 02:00:00:00:00:0b >"$DIR/no-interface.xml"
sed '/eidmap:/d' "$DIR/web.xml" >"$DIR/plain.xml"
hook hv1 prepare "$DIR/web.xml" || fail "prepare: $(cat "$DIR/hook.out")"
must "a port without a network is not refused" not hook hv1 prepare "$DIR/no-network.xml"
must "it does not say so: $(cat "$DIR/hook.out")" says "web-1 has no network"
must "a port without an interface is not refused" not hook hv1 prepare "$DIR/no-interface.xml"
must "it does not say so: $(cat "$DIR/hook.out")" says "no interface with MAC 02:00:00:00:00:0b"
sed '$d' "$DIR/web.xml" >"$DIR/broken.xml"
must "a domain that is no XML is not refused" not hook hv1 prepare "$DIR/broken.xml"
must "it does not say so: $(cat "$DIR/hook.out")" says "the ports in its metadata cannot be read"
hook hv1 reconnect "$DIR/broken.xml" || fail "a guest that runs is stopped for it"
must "a reconnect does not say so: $(cat "$DIR/hook.out")" says "cannot be read"
HOOK_PATH=$DIR/few
mkdir "$HOOK_PATH"
ln -s "$(command -v cat)" "$HOOK_PATH"
must "a host without xmlstarlet is not refused" not hook hv1 prepare "$DIR/web.xml"
must "it does not say so: $(cat "$DIR/hook.out")" says "xmlstarlet: not found"
hook hv1 prepare "$DIR/plain.xml" || fail "a guest without metadata needs xmlstarlet"
HOOK_PATH=
shown "a mistake is said before the guest starts"

hook hv1 started "$DIR/plain.xml" || fail "a guest without metadata: $(cat "$DIR/hook.out")"
must "a guest without metadata is attached" [ "$(xtr_json hv1 length ports)" = 0 ]
hook hv1 started "$DIR/web.xml" || fail "started: $(cat "$DIR/hook.out")"
soon "its interface id is the port's" port_has_phase hv1 7b3c9f2e-1111-4222-8333-944455556666 \
    installed
ping_well b 192.168.7.1
ping_well b fd07::1
hook hv1 reconnect "$DIR/web.xml" || fail "reconnect: $(cat "$DIR/hook.out")"
must "it is one port" [ "$(xtr_json hv1 length ports)" = 1 ]
shown "what is started is attached by its interface id"

port=7b3c9f2e-1111-4222-8333-944455556666
ip -n "${T}hv2" link add t-web type veth peer name q-web
: >"$DIR/run-hv2"
must "a migration that cannot be noted is not refused" not hook hv2 migrate "$DIR/web.xml"
must "it does not say so: $(cat "$DIR/hook.out")" says "guest web: .* cannot be noted in $DIR/run-hv2"
rm "$DIR/run-hv2"
for operation in migrate prepare started reconnect; do
    hook hv2 $operation "$DIR/web.xml" || fail "$operation at the target: $(cat "$DIR/hook.out")"
done
soon "the target waits for the guest" port_has_phase hv2 $port pending
must "the port has left before its guest" lives_at red 192.168.7.1 hv1
ping_well b 192.168.7.1
hook hv2 release "$DIR/web.xml" || fail "release at the target: $(cat "$DIR/hook.out")"
must "the port went with a migration that failed" lives_at red 192.168.7.1 hv1
shown "what comes by live migration is pending at the target"

sed "/<eidmap:port /{p;s/mac='[^']*'/mac='02:00:00:00:00:0c' id='web-2'/}" "$DIR/web.xml" >"$DIR/two.xml"
kill -s STOP "$(daemon_pid hv1)"
start=$(now_ms)
must "a release that nobody answers is well" not hook hv1 release "$DIR/two.xml"
took=$(($(now_ms) - start))
kill -s CONT "$(daemon_pid hv1)"
must "it took $took ms" [ $took -lt 60000 ]
must "it does not say once of each port: $(cat "$DIR/hook.out")" [ "$(grep -c '^mapctl: ' "$DIR/hook.out")" = 2 ]
shown "an agent that hangs does not hold libvirt up"

hook hv1 release "$DIR/web.xml" || fail "release: $(cat "$DIR/hook.out")"
must "what is released is still there" [ "$(xtr_json hv1 length ports)" = 0 ]
soon "the map has forgotten it" not ctl resolve red 192.168.7.1
hook hv1 release "$DIR/web.xml" || fail "a second release: $(cat "$DIR/hook.out")"
shown "what is released is detached"
