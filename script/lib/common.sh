# shellcheck shell=bash
# Shared by all scripts: messages, and facts about the host.

# The top of the work tree, regardless of the current directory.
project_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export project_root

# Prints one line about the current step.
say() {
    printf '%s\n' "$*" >&2
}

# Prints an error and exits.
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

need_root() {
    [[ $EUID -eq 0 ]] || die "this changes the host and needs root: run it with sudo"
}

have_command() {
    command -v "$1" >/dev/null 2>&1
}

# True if systemd manages the host, and so its services.
have_systemd() {
    [[ -d /run/systemd/system ]]
}

# amd64 or arm64, as named by Debian; no other architecture has builds of all parts.
debian_architecture() {
    local architecture
    architecture=$(dpkg --print-architecture)
    case $architecture in
        amd64 | arm64) printf '%s\n' "$architecture" ;;
        *) die "StartClaw runs on amd64 and arm64; this host is $architecture" ;;
    esac
}

# Runs a command quietly; if it fails, prints all its output. The caller announces the step: a screen full of package names only helps after a
# failure.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    if [[ $status -ne 0 ]]; then
        cat "$log" >&2
        say "failed with exit code $status: $*"
    fi
    rm -f "$log"
    return "$status"
}

# Holds the named lock until the script ends, so that concurrent runs wait for each other. Child processes inherit it; what continues after the script
# must not: see detached.
hold_lock() {
    local name=$1 directory=/run/lock/startclaw lock
    mkdir -p "$directory"
    exec {lock}>"$directory/$name.lock"
    if ! flock --nonblock "$lock"; then
        say "Another run is in progress: waiting for it."
        flock "$lock"
    fi
}

# Starts a command that continues after the script. It inherits no file but its output, because it would hold the locks of this script, and of its
# caller, for as long as it runs. Redirect its output.
detached() {
    (
        for file in "/proc/$BASHPID/fd"/*; do
            file=${file##*/}
            ((file <= 2)) || exec {file}>&-
        done
        exec setsid --fork "$@" </dev/null
    )
}

# A directory that is removed when the script ends. Call it once per script, as: make_workspace; cd "$workspace".
make_workspace() {
    workspace=$(mktemp -d "${TMPDIR:-/var/tmp}/startclaw.XXXXXX")
    trap 'rm -rf "$workspace"' EXIT
}
