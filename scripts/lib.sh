# What the scripts share: where things are, and what has to be installed. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
case $target_dir in /*) ;; *) target_dir=$PWD/$target_dir ;; esac
export CARGO_TARGET_DIR=$target_dir

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

postgres_bin() {
    local newest
    newest=$(find /usr/lib/postgresql -maxdepth 1 -mindepth 1 -type d 2>/dev/null | sort -V | tail -n 1)
    [ -n "$newest" ] && [ -x "$newest/bin/postgres" ] && printf '%s/bin\n' "$newest"
}

# Installs the packages whose program is missing: ensure_programs program=package...
# The server package of Debian starts a cluster of its own on 5432; nobody here uses that port.
ensure_programs() {
    local pair missing=()
    for pair in "$@"; do
        case ${pair%%=*} in
            postgres) postgres_bin >/dev/null || missing+=("${pair#*=}") ;;
            *) command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    command -v apt-get >/dev/null 2>&1 || die "install these by hand, there is no apt-get: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Installs the clients that the slow tests let read the health answers, and says where those are that are not Debian's.
ensure_clients() {
    export PORTCULLIS_CLIENTS=$target_dir/clients
    ensure_programs chromium=chromium chromedriver=chromium-driver prometheus=prometheus promtool=prometheus \
        prometheus-blackbox-exporter=prometheus-blackbox-exporter /usr/lib/nagios/plugins/check_http=monitoring-plugins-basic \
        python3=python3 npm=npm prlimit=util-linux dockerd=docker.io busybox=busybox-static
    if ! "$PORTCULLIS_CLIENTS/venv/bin/python" -c 'import jsonschema, prometheus_client, schemathesis' 2>/dev/null; then
        say "installing jsonschema, prometheus-client and schemathesis"
        python3 -m venv "$PORTCULLIS_CLIENTS/venv" 2>/dev/null || {
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
            python3 -m venv --clear "$PORTCULLIS_CLIENTS/venv"
        }
        "$PORTCULLIS_CLIENTS/venv/bin/pip" install --quiet --disable-pip-version-check jsonschema prometheus-client schemathesis
    fi
    ensure_wait_on
}

# Installs wait-on, which is npm's, beside the other clients.
ensure_wait_on() {
    ensure_programs npm=npm
    if [ ! -x "$target_dir/clients/node/node_modules/.bin/wait-on" ]; then
        say "installing wait-on"
        npm install --silent --no-fund --no-audit --prefix "$target_dir/clients/node" wait-on
    fi
}

# Installs redis-py and says where the Python is that has it: the README's lines for it are run.
ensure_redis_py() {
    local venv=$target_dir/clients/redis-py
    ensure_programs python3=python3
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import redis' 2>/dev/null; then
        say "installing redis-py"
        python3 -m venv --clear "$venv" 2>/dev/null || {
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
            python3 -m venv --clear "$venv"
        }
        "$venv/bin/pip" install --quiet --disable-pip-version-check redis
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

# Prints the target of the shipping form: musl, else static glibc, which it says.
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
