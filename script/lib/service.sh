# shellcheck shell=bash
# The two services: the daemon and Caddy. With systemd they are units, else script/lib/keep runs them.

readonly service_pids=/run/startclaw-services
readonly caddy_user=startclaw-caddy
readonly services=(startclaw startclaw-caddy)

# Prints the command of a service, one word per line.
service_command() {
    case $1 in
        startclaw)
            printf '%s\n' /usr/local/bin/startclaw serve
            ;;
        startclaw-caddy)
            # Not root: Caddy is exposed to the internet. It needs one privilege, for ports below 1024.
            printf '%s\n' setpriv --pdeathsig TERM --reuid "$caddy_user" --regid "$caddy_user" --clear-groups \
                --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service --no-new-privs \
                env XDG_DATA_HOME=/var/lib/startclaw/caddy XDG_CONFIG_HOME=/var/lib/startclaw/caddy HOME=/var/lib/startclaw/caddy \
                /usr/local/bin/caddy run --config /etc/startclaw/Caddyfile --adapter caddyfile
            ;;
    esac
}

# Hash of everything that a service was started from: while it is the same, no restart is needed.
service_hash() {
    {
        service_command "$1"
        if have_systemd; then
            systemctl cat "$1" || true
        fi
        case $1 in
            startclaw) cat /usr/local/bin/startclaw /etc/startclaw/startclaw.toml || true ;;
            startclaw-caddy) cat /usr/local/bin/caddy /etc/startclaw/Caddyfile || true ;;
        esac
    } 2>/dev/null | sha256sum
}

# False if a part of the service changed since its start, or if its hash is missing.
service_is_current() {
    [[ -f $service_pids/$1.hash && $(<"$service_pids/$1.hash") == "$(service_hash "$1")" ]]
}

service_runs() {
    if have_systemd; then
        systemctl is-active --quiet "$1"
    else
        kept_pid "$1" >/dev/null
    fi
}

# The pid of the service's keep. The pid in the file may have been reused, so its command line is checked.
kept_pid() {
    local pid words
    pid=$(cat "$service_pids/$1.pid" 2>/dev/null) || return 1
    mapfile -d '' -t words 2>/dev/null <"/proc/$pid/cmdline" || return 1
    [[ ${words[1]-} == */lib/keep && ${words[2]-} == "$1" ]] && printf '%s\n' "$pid"
}

start_service() {
    local hash
    # Computed before the start, so that a change in the meantime is detected.
    hash=$(service_hash "$1")
    if have_systemd; then
        systemctl enable --quiet "$1"
        systemctl restart "$1"
    else
        local command attempt
        mapfile -t command < <(service_command "$1")
        detached "$project_root/script/lib/keep" "$1" "${command[@]}" >/dev/null 2>&1
        # Wait until it counts as running, for the next check.
        for ((attempt = 0; attempt < 100; attempt++)); do
            ! service_runs "$1" || break
            sleep 0.05
        done
    fi
    mkdir -p "$service_pids"
    printf '%s\n' "$hash" >"$service_pids/$1.hash"
}

# Returns when it has ended. A unit is disabled too, even if it is not running: it may be about to start.
stop_service() {
    local pid attempt
    if have_systemd; then
        [[ ! -e /etc/systemd/system/$1.service ]] || systemctl disable --quiet --now "$1"
        return
    fi
    pid=$(kept_pid "$1") || return 0
    kill "$pid" 2>/dev/null || return 0
    for ((attempt = 0; attempt < 400; attempt++)); do
        kept_pid "$1" >/dev/null || return 0
        sleep 0.1
    done
    die "$1 (pid $pid) did not end within 40 s"
}

restart_service() {
    have_systemd || stop_service "$1"
    start_service "$1"
}

# Installs the units; returns 1 (false) if they were already installed.
install_units() {
    have_systemd || return 1
    local unit changed=1
    for unit in "${services[@]}"; do
        if ! cmp -s "$project_root/deploy/systemd/$unit.service" "/etc/systemd/system/$unit.service"; then
            install -m 0644 "$project_root/deploy/systemd/$unit.service" /etc/systemd/system/
            changed=0
        fi
    done
    [[ $changed -ne 0 ]] || systemctl daemon-reload
    return "$changed"
}

remove_units() {
    have_systemd || return 0
    local unit
    for unit in "${services[@]}"; do
        systemctl reset-failed "$unit" 2>/dev/null || true
        rm -rf /etc/systemd/system/"$unit".service{,.d} /etc/systemd/system/*.{wants,requires}/"$unit".service
    done
    systemctl daemon-reload
}
