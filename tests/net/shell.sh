#!/bin/sh
# The programs in a shell, without a network: a pipe whose reader has left, a full disk, help as
# wide as a terminal (that of mapctl is the unit test ctl_command).
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open

code=0
"$MAPCTL" --help >/dev/full 2>"$DIR/full.err" || code=$?
must "a full disk: code $code" [ $code = 1 ]
must "a full disk: $(cat "$DIR/full.err")" grep -q 'cannot write the output' "$DIR/full.err"
shown "output that is lost is told"

mkfifo "$DIR/pipe"
exec 3<>"$DIR/pipe" 4>"$DIR/pipe" 3<&-
code=0
"$MAPCTL" --help >&4 2>"$DIR/pipe.err" || code=$?
exec 4>&-
must "no reader: code $code" [ $code = 1 ]
must "no reader: $(cat "$DIR/pipe.err")" [ ! -s "$DIR/pipe.err" ]
shown "a reader that has seen enough is no fault"

"$MAPSERVER" --help >"$DIR/help"
"$XTR" --help | sed -n '/^Configuration/,$p' >>"$DIR/help"
must "too wide: $(grep '.\{79\}' "$DIR/help")" not grep -q '.\{79\}' "$DIR/help"
must "the configuration of both is there" [ "$(grep -c '^Configuration' "$DIR/help")" = 2 ]
shown "help fits 78 columns"
