# Shared by the scripts in this folder: finding and installing what they need. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
testdata=${TENSORSEAL_TESTDATA:-$root/.testdata}
# The scripts change directory and call one another: one absolute path for all of them.
case $testdata in /*) ;; *) testdata=$PWD/$testdata ;; esac
export TENSORSEAL_TESTDATA=$testdata

say() { printf '%s\n' "$*" >&2; }
heading() { printf '\n== %s\n' "$*"; }
fail() {
    say "error: $*"
    exit 1
}

# Installs Debian packages that are missing.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "missing packages, install them first: ${missing[*]}"
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "root or sudo is required to install: ${missing[*]}"
        sudo=(sudo)
    fi
    say "installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq >&2
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# From the distribution if it packages rustup, otherwise with the installer of rustup.
install_rust() {
    if apt-cache show rustup >/dev/null 2>&1; then
        need_packages rustup
        rustup default stable >&2
    else
        need_packages curl ca-certificates
        say "installing Rust with rustup"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default >&2
    fi
}

# Whether a version is at least another one.
is_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# Whether a program is installed, in at least this version. It is optional: without it, its checks are skipped.
has_tool() {
    local has
    has=$("$1" --version 2>/dev/null | grep -o '[0-9][0-9.]*' | head -n 1) && is_at_least "$has" "$2" && return 0
    say "$1 $2 is not installed: skipping its checks"
    return 1
}

# A C linker, and cargo of at least the version in Cargo.toml.
need_rust() {
    command -v cc >/dev/null || need_packages build-essential
    # shellcheck disable=SC1091
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    if ! command -v cargo >/dev/null; then
        install_rust || fail "cannot install a Rust toolchain: see https://rustup.rs"
        # shellcheck disable=SC1091
        [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    fi
    local has wants
    has=$(cargo --version | cut -d' ' -f2)
    wants=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    is_at_least "$has" "$wants" ||
        fail "cargo $has is too old, at least $wants is required: run rustup update stable"
}

# Python 3 with pip, to download the test model.
need_pip() {
    command -v python3 >/dev/null || need_packages python3 python3-pip
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
}

# A virtual environment with the packages of tests/python/requirements.txt; sets $python.
need_python() {
    need_environment venv requirements.txt
    python=$testdata/venv/bin/python
}

# The environment of the checks against services, whose packages conflict with the others.
need_services_python() {
    need_environment venv-services requirements-services.txt
    services_python=$testdata/venv-services/bin/python
}

# PyTorch, for checks that compare with it.
need_torch_python() {
    need_environment venv-torch requirements-torch.txt
    torch_python=$testdata/venv-torch/bin/python
}

# A virtual environment of this name, with the packages of a file of tests/python.
need_environment() {
    need_pip
    local venv=$testdata/$1 wants=$root/tests/python/$2
    cmp -s "$wants" "$venv/installed.txt" && return 0
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv
    say "installing the Python packages of tests/python/$2"
    rm -rf "$venv"
    mkdir -p "$testdata"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile -r "$wants" ||
        fail "cannot install the packages of tests/python/$2: check the network connection"
    cp "$wants" "$venv/installed.txt"
}

# The servers and readers that the checks against services start.
need_services() {
    need_packages docker-registry prometheus prometheus-node-exporter rsyslog systemd
}

# The software Vulkan device of Mesa, also if there is a hardware device: GPU tests name it.
need_vulkan() {
    need_packages libvulkan1 mesa-vulkan-drivers
}
