# shellcheck shell=bash
# Long work with progress: cargo's own bar on a terminal, a line every few seconds elsewhere; and a second command beside it.
# Needs common.sh.

readonly progress_seconds=5

# Runs a cargo command in the project and shows its progress. On failure, shows all that it printed.
in_project_with_progress() {
    if [[ -t 2 ]]; then
        (cd "$project_root" && "$@")
        return
    fi
    local log pid status=0
    log=$(mktemp)
    # The bar, written to a file: it tells how many of how many crates are built.
    (cd "$project_root" && CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100 exec "$@") >"$log" 2>&1 &
    pid=$!
    tell_progress "$pid" "$log"
    wait "$pid" || status=$?
    # Without the bar and the names of crates only what matters is left: warnings and errors.
    [[ $status -eq 0 ]] || tr '\r' '\n' <"$log" | grep --invert-match --extended-regexp '^ +(Building \[|(Compiling|Downloaded|Downloading) )' >&2
    rm -f "$log"
    return "$status"
}

# tell_progress PID LOG: a line every few seconds until PID ends, when the count in LOG changed.
tell_progress() {
    local pid=$1 log=$2 count told='' waited=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        waited=$((waited + 1))
        ((waited % progress_seconds == 0)) || continue
        count=$(tail --bytes 4096 "$log" | grep --only-matching --extended-regexp '[0-9]+/[0-9]+' | tail -n 1) || count=''
        # Also when the count stands still: the last crates take longest, and silence looks like a hang.
        [[ -n $count && ( $count != "$told" || $((waited % (3 * progress_seconds))) -eq 0 ) ]] || continue
        told=$count
        say "  ${count/\// of } crates after $waited s"
    done
}

# Starts a command that runs beside the next ones. It ends with this script; finish_beside waits for it.
start_beside() {
    "$@" > >(show_beside) 2>&1 &
    beside_pid=$!
    trap 'kill "$beside_pid" 2>/dev/null || true' EXIT
}

# On a terminal, what the command beside prints takes the place of the bar, which cargo then draws below.
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
