#!/bin/bash
# The program that links watchsnap's //vmm holds one Abseil, the embedder's: its symbols lie in absl::embedder, none in upstream's
# inline namespace.
set -u
program=$1
symbols=$(nm "$program") || exit 1
marked=$(grep -c '4absl8embedder' <<<"$symbols")
upstream=$(grep -cE '4absl[0-9]+lts_' <<<"$symbols")
ours=$(grep '4absl8embedder' <<<"$symbols" | grep -c watchsnap)
echo "$marked symbols of the embedder's Abseil, $ours of them in watchsnap's own functions; $upstream of another one"
((marked > 0 && ours > 0 && upstream == 0))
