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

seconds() { date +%s; }
# took NAME COMMAND…: NAME becomes the seconds that it took.
took() {
    local name=$1 begin
    shift
    begin=$(seconds)
    "$@"
    printf -v "$name" %s $(($(seconds) - begin))
}
build() { cargo build --release --locked "$@"; }

# One lab alone, as `cargo run --release -p lab03` builds it.
took alone build -p lab03
rm -rf "${target:?}"/*

# What the README's first command builds, as `cargo run --release` does.
all_labs() { build -p labs --bin labs 2>&1 | tee "$target/log"; }
took cold all_labs
crates=$(grep -c '^ *Compiling ' "$target/log")

# And after a change in one lab: its own program, and the one with all labs.
build
touch labs/lab03_concurrency_trap/src/lib.rs
took lab_again build -p lab03
touch labs/lab03_concurrency_trap/src/lib.rs
took again build -p labs --bin labs

build -p mock_server
size() {
    local file=$target/release/$1
    [ -e "$file" ] || file=$file.exe
    wc -c <"$file" | tr -d ' '
}
labs=$(size labs) mock=$(size mock_server)
all=$labs count=1
for folder in labs/lab[0-9][0-9]_*; do
    lab=$(basename "$folder")
    all=$((all + $(size "${lab%%_*}"))) count=$((count + 1))
done

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
  "cold_build_of_one_lab_s": $alone,
  "rebuild_after_one_lab_s": $again,
  "rebuild_of_one_lab_s": $lab_again,
  "crates_compiled": $crates,
  "labs_bytes": $labs,
  "all_programs_bytes": $all,
  "mock_server_bytes": $mock,
  "tables": [
    {
      "title": "A first build",
      "columns": ["fact", "value"],
      "rows": [
        ["first build, without downloads", "$(minutes "$cold")"],
        ["the same of one lab alone (\`-p lab03\`)", "$(minutes "$alone")"],
        ["a change in one lab: its own program is built again", "$lab_again s"],
        ["a change in one lab: the program with all labs", "$again s"],
        ["crates compiled", "$crates"],
        ["size of labs", "$(mb "$labs")"],
        ["size of all $count programs together", "$(mb "$all")"],
        ["size of mock_server", "$(mb "$mock")"]
      ],
      "note": "$cores processors ($cpu), $system, Rust $rust, $day."
    }
  ]
}
END
mv "$out/instrument/build.json.new" "$out/instrument/build.json"
echo "$out/instrument/build.json written"
