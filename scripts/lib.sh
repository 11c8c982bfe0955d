# Shared by the scripts: paths and required packages. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
case $target_dir in /*) ;; *) target_dir=$PWD/$target_dir ;; esac
export CARGO_TARGET_DIR=$target_dir

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Lists what did not run, or only partly, and why: leave_out WHAT WHY.
leave_out() {
    say "left out: $1 ($2)"
    [ -z "${PORTCULLIS_LEFT_OUT:-}" ] || echo "left out: $1 ($2)" >>"$PORTCULLIS_LEFT_OUT"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

postgres_bin() {
    local newest
    newest=$(find /usr/lib/postgresql -maxdepth 1 -mindepth 1 -type d 2>/dev/null | sort -V | tail -n 1)
    [ -n "$newest" ] && [ -x "$newest/bin/postgres" ] && printf '%s/bin\n' "$newest"
}

# Installs the packages whose program or file is missing: ensure_programs program=package... /path=package...
# Debian's server package starts its own cluster on 5432; nothing here uses that port.
ensure_programs() {
    local pair missing=()
    for pair in "$@"; do
        case ${pair%%=*} in
            postgres) postgres_bin >/dev/null || missing+=("${pair#*=}") ;;
            /*) [ -e "${pair%%=*}" ] || missing+=("${pair#*=}") ;;
            *) command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    command -v apt-get >/dev/null 2>&1 || die "install these by hand, there is no apt-get: ${missing[*]}"
    install_packages "${missing[@]}"
}

# Installs Debian packages; waits for another apt, for example that of unattended-upgrades.
install_packages() {
    as_root apt-get -o DPkg::Lock::Timeout=300 update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qq -y --no-install-recommends "$@" >/dev/null
}

# Installs the clients that read the health responses in the slow tests, and prints the place of those that are not from Debian.
ensure_clients() {
    export PORTCULLIS_CLIENTS=$target_dir/clients
    ensure_programs chromium=chromium chromedriver=chromium-driver prometheus=prometheus promtool=prometheus \
        prometheus-blackbox-exporter=prometheus-blackbox-exporter /usr/lib/nagios/plugins/check_http=monitoring-plugins-basic \
        python3=python3 npm=npm prlimit=util-linux
    if ! "$PORTCULLIS_CLIENTS/venv/bin/python" -c 'import grpc_health.v1.health, jsonschema, kubernetes_validate, prometheus_client, schemathesis' 2>/dev/null; then
        say "installing grpcio-health-checking, jsonschema, kubernetes-validate, prometheus-client and schemathesis"
        python3 -m venv "$PORTCULLIS_CLIENTS/venv" 2>/dev/null || {
            install_packages python3-venv
            python3 -m venv --clear "$PORTCULLIS_CLIENTS/venv"
        }
        "$PORTCULLIS_CLIENTS/venv/bin/pip" install --quiet --disable-pip-version-check \
            grpcio-health-checking jsonschema kubernetes-validate prometheus-client schemathesis
    fi
    ensure_wait_on
}

# Installs a Docker engine with the programs that the tests start in it, and the emulator for the aarch64 binary.
ensure_containers() {
    ensure_programs dockerd=docker.io busybox=busybox-static docker-compose=docker-compose debootstrap=debootstrap qemu-aarch64=qemu-user
    export PORTCULLIS_DEBIAN=$target_dir/debian.tar
    if [ ! "$PORTCULLIS_DEBIAN" -nt "$root/scripts/debian-image" ]; then
        say "making a Debian for the tests in containers (two minutes, once)"
        as_root "$root/scripts/debian-image" "$PORTCULLIS_DEBIAN"
    fi
}

# Unpacks current servers of Debian unstable (MySQL 9, PostgreSQL 18, pgbouncer 1.26, Valkey) and prints their root directory.
# If they are not available, the tests that need them are left out and listed.
ensure_fresh_servers() {
    local fresh=$target_dir/fresh
    if [ ! "$fresh/root" -nt "$root/scripts/fresh-servers" ]; then
        say "fetching current servers of Debian unstable (110 MB, once)"
        mkdir -p "$fresh"
        if ! "$root/scripts/fresh-servers" "$fresh/root" >"$fresh/log" 2>&1; then
            say "no current servers, tests that want them are left out: $(tail -n 1 "$fresh/log") (see $fresh/log)"
            return 0
        fi
    fi
    export PORTCULLIS_FRESH=$fresh/root
}

# Installs wait-on from npm beside the other clients.
ensure_wait_on() {
    ensure_programs npm=npm
    if [ ! -x "$target_dir/clients/node/node_modules/.bin/wait-on" ]; then
        say "installing wait-on"
        npm install --silent --no-fund --no-audit --prefix "$target_dir/clients/node" wait-on
    fi
}

# Builds cargo-deny, which checks the crates in the binary.
ensure_deny() {
    if ! cargo deny --version >/dev/null 2>&1; then
        say "installing cargo-deny (a few minutes, once)"
        cargo install --quiet --locked cargo-deny >&2
    fi
}

# Builds cargo-cyclonedx, which lists the crates in the binary.
ensure_cyclonedx() {
    if ! cargo cyclonedx --version >/dev/null 2>&1; then
        say "installing cargo-cyclonedx (a few minutes, once)"
        cargo install --quiet --locked cargo-cyclonedx >&2
    fi
}

# Builds watchctl from crates.io beside the other clients.
ensure_watchctl() {
    ensure_cargo
    if [ ! -x "$target_dir/clients/cargo/bin/watchctl" ]; then
        say "installing watchctl"
        cargo install --quiet --locked --root "$target_dir/clients/cargo" --target-dir "$target_dir/clients/cargo/target" watchctl >&2
        rm -rf "$target_dir/clients/cargo/target"
    fi
}

# Lets the Python of a script import modules from its own directory without leaving files there.
export PYTHONPATH=$root/scripts PYTHONDONTWRITEBYTECODE=1

# Creates a new Python environment with packages from PyPI: ensure_venv DIRECTORY package...
ensure_venv() {
    python3 -m venv --clear "$1" 2>/dev/null || {
        install_packages python3-venv
        python3 -m venv --clear "$1"
    }
    "$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

# Installs redis-py and prints the path of its Python, to run the lines for it in docs/heartbeat.md.
ensure_redis_py() {
    local venv=$target_dir/clients/redis-py
    ensure_programs python3=python3
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import redis' 2>/dev/null; then
        say "installing redis-py"
        ensure_venv "$venv" redis
    fi
    export PORTCULLIS_PYTHON=$venv/bin/python
}

ensure_cargo() {
    if ! command -v cargo >/dev/null 2>&1 && [ -r "$HOME/.cargo/env" ]; then
        # shellcheck disable=SC1091
        . "$HOME/.cargo/env"
    fi
    command -v cargo >/dev/null 2>&1 || die "cargo is missing: install Rust 1.88 or newer (https://rustup.rs)"
    ensure_programs cc=build-essential
}

# Installs Rust's standard library for a target if it is missing; that of musl includes musl.
ensure_target() {
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] || return 0
    command -v rustup >/dev/null 2>&1 || die "Rust's library for $1 is missing, and there is no rustup to add it"
    say "adding the target $1"
    rustup target add "$1" >&2
}

# Installs the C compiler and linker for another machine: Debian's cross compiler.
ensure_cross() {
    local target=$1 machine=${1%%-*} name debian
    name=$(tr a-z- A-Z_ <<<"$target")
    case $machine in
        aarch64) debian=arm64 ;;
        x86_64) debian=amd64 ;;
        *) die "no cross compiler is known for $machine (known: aarch64, x86_64)" ;;
    esac
    ensure_programs "$machine-linux-gnu-gcc=gcc-${machine/_/-}-linux-gnu" "/usr/$machine-linux-gnu/include/string.h=libc6-dev-$debian-cross"
    export "CC_${target//-/_}=$machine-linux-gnu-gcc" "CARGO_TARGET_${name}_LINKER=$machine-linux-gnu-gcc"
}

# Prints the target of the release form: musl, else static glibc, which it reports.
static_target() {
    local machine musl gnu
    machine=$(uname -m)
    musl=$machine-unknown-linux-musl
    gnu=$machine-unknown-linux-gnu
    if [ -d "$(rustc --print sysroot)/lib/rustlib/$musl/lib" ]; then
        printf '%s\n' "$musl"
    elif command -v rustup >/dev/null 2>&1 && say "adding the target $musl" && rustup target add "$musl" >&2; then
        printf '%s\n' "$musl"
    else
        say "the target $musl is not to be had here: falling back to static glibc ($gnu)"
        printf '%s\n' "$gnu"
    fi
}
