#!/usr/bin/env bash
# Measures what a first build costs: time, crates, sizes of the programs. Writes
# DIR/instrument/build.json (DIR is results/reference unless given), which `labs splice` puts into the
# README. For a machine that has nothing else to do; takes minutes, and some 1 GB in a temporary folder.
#
#   scripts/first_build.sh [DIR] && cargo run --release -- splice README.md results/reference
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/results/reference}
cd "$root"

target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset RUSTFLAGS CARGO_BUILD_JOBS CARGO_INCREMENTAL CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER
export CARGO_TARGET_DIR=$target CARGO_TERM_COLOR=never

# Downloads are not part of it.
cargo fetch --locked

# What the README's first command builds, as `cargo run --release` does.
seconds() { date +%s; }
begin=$(seconds)
cargo build --release --locked -p labs --bin labs 2>&1 | tee "$target/log"
cold=$(($(seconds) - begin))
crates=$(grep -c '^ *Compiling ' "$target/log")

# And after a change in one lab.
touch labs/lab03_concurrency_trap/src/lib.rs
begin=$(seconds)
cargo build --release --locked -p labs --bin labs
again=$(($(seconds) - begin))

cargo build --release --locked -p mock_server
size() {
    local file=$target/release/$1
    [ -e "$file" ] || file=$file.exe
    wc -c <"$file" | tr -d ' '
}
labs=$(size labs) mock=$(size mock_server)

cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo "${NUMBER_OF_PROCESSORS:-unknown}")
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1 || true)
[ -n "$cpu" ] || cpu=$(sysctl -n machdep.cpu.brand_string 2>/dev/null || echo unknown)
cpu=$(printf '%s' "$cpu" | tr -d '"\\')
system="$(uname -s) $(uname -m)"
rust=$(rustc --version | cut -d ' ' -f 2)
day=$(date -u +%Y-%m-%d)

minutes() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }
mb() { awk -v b="$1" 'BEGIN { printf "%.1f MB", b / 1e6 }'; }

mkdir -p "$out/instrument"
cat >"$out/instrument/build.json.new" <<END
{
  "schema": 1,
  "measured_on": "$day",
  "system": "$system",
  "cpu": "$cpu",
  "cores": "$cores",
  "rustc": "$rust",
  "cold_build_s": $cold,
  "rebuild_after_one_lab_s": $again,
  "crates_compiled": $crates,
  "labs_bytes": $labs,
  "mock_server_bytes": $mock,
  "tables": [
    {
      "title": "A first build",
      "columns": ["fact", "value"],
      "rows": [
        ["first build, without downloads", "$(minutes "$cold")"],
        ["build after a change in one lab", "$(minutes "$again")"],
        ["crates compiled", "$crates"],
        ["size of labs", "$(mb "$labs")"],
        ["size of mock_server", "$(mb "$mock")"]
      ],
      "note": "$cores processors ($cpu), $system, Rust $rust, $day."
    }
  ]
}
END
mv "$out/instrument/build.json.new" "$out/instrument/build.json"
echo "$out/instrument/build.json written"
