# Shared by the scripts that run checks: what runs beside what, where the time went, and that nothing is left
# running. Sourced after lib.sh, not run.
# shellcheck shell=bash

# Removed at the end.
work=$(mktemp -d)
# Process groups that were started and not waited for yet, and those of them that have a name.
running=()
declare -A beside=()

# However the script ends, what it started ends with it.
stop_all() {
    local group tries
    trap - EXIT
    trap '' INT TERM HUP
    for group in "${running[@]}"; do
        kill -- "-$group" 2>/dev/null || continue
        for ((tries = 0; tries < 50; tries++)); do
            kill -0 -- "-$group" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$group" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Starts a command in a process group of its own; sets $group.
start() {
    set -m
    "$@" </dev/null &
    set +m
    group=$!
    running+=("$group")
}

# Its exit status, when it has ended.
await() {
    local status=0 kept=() other
    wait "$1" || status=$?
    for other in "${running[@]}"; do
        [ "$other" = "$1" ] || kept+=("$other")
    done
    running=("${kept[@]}")
    return "$status"
}

# Runs a command to its end. A signal to the script ends it at once.
run() {
    local group
    start "$@"
    await "$group"
}

# Starts a command beside what follows, under a name. What it prints is kept for `finish`; its errors come at once.
start_beside() {
    local name=$1 group
    shift
    start "$@" >"$work/$name.log"
    beside[$name]=$group
}

# Waits for what was started under this name, prints what it said, and gives its exit status.
finish() {
    local status=0
    await "${beside[$1]}" || status=$?
    cat "$work/$1.log"
    return "$status"
}

# Begins a part of a script, and ends the one before. `phase` alone prints where the time went.
phase() {
    [ -z "${phase_name:-}" ] || phase_times+=("$(printf '%5d s  %s' $((SECONDS - phase_began)) "$phase_name")")
    phase_name=${1:-} phase_began=$SECONDS
    if [ -n "$phase_name" ]; then
        heading "$phase_name"
    else
        heading "Where the time went"
        printf '%s\n' "${phase_times[@]}"
    fi
}

# Runs checks of tests/python, two at a time; what one says comes when it is done. Those of services have
# their own environment.
run_checks() {
    # shellcheck disable=SC2016
    printf '%s\n' "$@" | SERVICES_PYTHON=${services_python:-} xargs -P 2 -I{} bash -c '
        log=$(mktemp)
        status=0
        python=$0
        [[ $1 != services/* ]] || python=$SERVICES_PYTHON
        "$python" "tests/python/$1.py" >"$log" 2>&1 || status=1
        printf "\n== tests/python/%s.py (%d s)\n%s\n" "$1" "$SECONDS" "$(cat "$log")"
        rm -f "$log"
        [ "$status" = 0 ] || echo "error: tests/python/$1.py failed" >&2
        exit "$status"' "$python" {}
}

# The same beside what compiles and tests: that comes first, they take what it leaves of the processors.
run_checks_behind() {
    renice -n 5 -p "$BASHPID" >/dev/null
    run_checks "$@"
}
