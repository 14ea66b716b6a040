#!/usr/bin/env bash
# rustc with frame pointers, for our own crate alone (Cargo's RUSTC_WORKSPACE_WRAPPER): its
# dependencies need not be compiled again.
exec "$@" -C force-frame-pointers=yes
