# shellcheck shell=bash
# What every script here needs: talking to the person, and asking the machine what it is.

# The top of the work tree, whatever directory the script was called from.
project_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export project_root

# One line on what is being done, for the person who waits.
say() {
    printf '%s\n' "$*" >&2
}

# Says what went wrong, and ends the script.
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

need_root() {
    [[ $EUID -eq 0 ]] || die "this changes the machine and so needs root: run it with sudo"
}

have_command() {
    command -v "$1" >/dev/null 2>&1
}

# True where systemd runs the machine, and so where services belong to it.
have_systemd() {
    [[ -d /run/systemd/system ]]
}

# amd64 or arm64, as Debian calls them; nothing else has a build of all the parts.
debian_architecture() {
    local architecture
    architecture=$(dpkg --print-architecture)
    case $architecture in
        amd64 | arm64) printf '%s\n' "$architecture" ;;
        *) die "StartClaw runs on amd64 and arm64; this machine is $architecture" ;;
    esac
}

# Runs a command quietly; if it fails, shows all that it said.
# What it is doing is said before, by the caller: a screen full of package names helps nobody until something breaks.
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

# Holds the named lock until the script ends, so that two runs at once wait for each other rather than mix.
# What the script starts and waits for inherits it; what continues after the script must not: see detached.
hold_lock() {
    local name=$1 directory=/run/lock/startclaw lock
    mkdir -p "$directory"
    exec {lock}>"$directory/$name.lock"
    if ! flock --nonblock "$lock"; then
        say "Another run of this is at work: waiting for it."
        flock "$lock"
    fi
}

# Starts a command that continues after the script, on its own. It inherits no file but its output: it would hold the locks of
# this script, and of the one that called it, for as long as it runs. Redirect its output.
detached() {
    (
        for file in "/proc/$BASHPID/fd"/*; do
            file=${file##*/}
            ((file <= 2)) || exec {file}>&-
        done
        exec setsid --fork "$@" </dev/null
    )
}

# A directory that is removed when the script ends. Call it once a script, as: make_workspace; cd "$workspace".
make_workspace() {
    workspace=$(mktemp -d "${TMPDIR:-/var/tmp}/startclaw.XXXXXX")
    trap 'rm -rf "$workspace"' EXIT
}
