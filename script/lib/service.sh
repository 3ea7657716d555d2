# shellcheck shell=bash
# The two services: the daemon and Caddy. Under systemd they are units, elsewhere script/lib/keep holds them.

readonly service_pids=/run/startclaw-services
readonly caddy_user=startclaw-caddy
readonly services=(startclaw startclaw-caddy)

# Prints the command of a service, one word a line.
service_command() {
    case $1 in
        startclaw)
            printf '%s\n' /usr/local/bin/startclaw serve
            ;;
        startclaw-caddy)
            # Not root: Caddy talks to strangers. It needs one privilege, for ports below 1024.
            printf '%s\n' setpriv --reuid "$caddy_user" --regid "$caddy_user" --clear-groups \
                --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service --no-new-privs \
                env XDG_DATA_HOME=/var/lib/startclaw/caddy XDG_CONFIG_HOME=/var/lib/startclaw/caddy HOME=/var/lib/startclaw/caddy \
                /usr/local/bin/caddy run --config /etc/startclaw/Caddyfile --adapter caddyfile
            ;;
    esac
}

service_runs() {
    if have_systemd; then
        systemctl is-active --quiet "$1"
    else
        [[ -f $service_pids/$1.pid ]] && kill -0 "$(<"$service_pids/$1.pid")" 2>/dev/null
    fi
}

start_service() {
    if have_systemd; then
        systemctl enable --quiet --now "$1"
    else
        local command
        mapfile -t command < <(service_command "$1")
        detached "$project_root/script/lib/keep" "$1" "${command[@]}" >/dev/null 2>&1
    fi
}

# Returns when it has ended.
stop_service() {
    service_runs "$1" || return 0
    if have_systemd; then
        systemctl disable --quiet --now "$1"
        return
    fi
    local pid attempt
    pid=$(<"$service_pids/$1.pid")
    kill "$pid" 2>/dev/null || return 0
    for ((attempt = 0; attempt < 300; attempt++)); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    die "$1 (pid $pid) did not end within 30 s"
}

restart_service() {
    if have_systemd; then
        systemctl restart "$1"
    else
        stop_service "$1"
        start_service "$1"
    fi
}

# Puts the units where systemd finds them; says 1 (false) when they were there already.
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
