# shellcheck shell=bash
# Progress of long builds: cargo's own bar on a terminal, a line every few seconds elsewhere; and a parallel command.
# Needs common.sh.

readonly progress_seconds=5

# Runs a cargo command in the project and shows its progress. On failure, prints all its output.
in_project_with_progress() {
    if [[ -t 2 ]]; then
        (cd "$project_root" && "$@")
        return
    fi
    local log pid status=0
    log=$(mktemp)
    # The bar, written to a file: it contains the number of built crates and the total.
    (cd "$project_root" && CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100 exec "$@") >"$log" 2>&1 &
    pid=$!
    tell_progress "$pid" "$log"
    wait "$pid" || status=$?
    # Remove the bar and the names of crates, which leaves warnings and errors.
    [[ $status -eq 0 ]] || tr '\r' '\n' <"$log" | grep --invert-match --extended-regexp '^ +(Building \[|(Compiling|Downloaded|Downloading) )' >&2
    rm -f "$log"
    return "$status"
}

# tell_progress PID LOG: prints a line every few seconds until PID ends, if the count in LOG changed.
tell_progress() {
    local pid=$1 log=$2 count told='' waited=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        waited=$((waited + 1))
        ((waited % progress_seconds == 0)) || continue
        count=$(tail --bytes 4096 "$log" | grep --only-matching --extended-regexp '[0-9]+/[0-9]+' | tail -n 1) || count=''
        # Also if the count stays the same: the last crates take longest, and silence looks like a hang.
        [[ -n $count && ( $count != "$told" || $((waited % (3 * progress_seconds))) -eq 0 ) ]] || continue
        told=$count
        say "  ${count/\// of } crates after $waited s"
    done
}

# Starts a command in parallel to the next ones. It ends with this script; finish_beside waits for it.
start_beside() {
    "$@" > >(show_beside) 2>&1 &
    beside_pid=$!
    trap 'kill "$beside_pid" 2>/dev/null || true' EXIT
}

# On a terminal, the output of the parallel command overwrites the bar, which cargo then redraws below.
show_beside() {
    local line start=''
    [[ ! -t 2 ]] || start=$'\r\e[K'
    while IFS= read -r line; do
        printf '%s%s\n' "$start" "$line" >&2
    done
}

finish_beside() {
    local status=0
    wait "$beside_pid" || status=$?
    trap - EXIT
    return "$status"
}
