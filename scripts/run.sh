# Shared by the scripts that run checks: running them in parallel, measuring their time, and stopping everything at the
# end. Sourced after lib.sh, not run.
# shellcheck shell=bash

# Removed at the end.
work=$(mktemp -d)
# Process groups that were started and not waited for yet, and those of them that have a name.
running=()
declare -A beside=()

# When the script ends, for whatever reason, everything that it started ends too.
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

# Starts a command in a separate process group; sets $group.
start() {
    set -m
    "$@" </dev/null &
    set +m
    group=$!
    running+=("$group")
}

# Waits for a process group and returns its exit status.
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

# Starts a command in parallel with what follows, under a name. Its output is kept for `finish`; its errors are printed
# immediately.
start_beside() {
    local name=$1 group
    shift
    start "$@" >"$work/$name.log"
    beside[$name]=$group
}

# Waits for the command with this name, prints its output, and returns its exit status.
finish() {
    local status=0
    await "${beside[$1]}" || status=$?
    cat "$work/$1.log"
    return "$status"
}

# Begins a part of a script, and ends the previous one. `phase` alone prints the time of each.
phase() {
    [ -z "${phase_name:-}" ] || phase_times+=("$(printf '%5d s  %s' $((SECONDS - phase_began)) "$phase_name")")
    phase_name=${1:-} phase_began=$SECONDS
    if [ -n "$phase_name" ]; then
        heading "$phase_name"
    else
        heading "Duration"
        printf '%s\n' "${phase_times[@]}"
    fi
}

# Runs checks of tests/python, two at a time; the output of each is printed when it is done. Those of services have
# a separate environment.
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

# The same at a lower priority, in parallel with compilers and tests, which come first.
run_checks_behind() {
    renice -n 5 -p "$BASHPID" >/dev/null
    run_checks "$@"
}
