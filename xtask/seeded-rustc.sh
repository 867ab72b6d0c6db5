#!/bin/sh
# The compiler for the crates of this workspace, with the bugs that `cargo xtask sim --bugs` looks for.
exec "$@" --cfg seeded_bugs
