# shellcheck shell=bash
# Docker: installation, settings and readiness.

readonly docker_settings=/etc/docker/daemon.json
readonly docker_log=/var/log/startclaw/dockerd.log

docker_answers() {
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

docker_settings_text() {
    cat <<'SETTINGS'
{
  "userland-proxy": false,
  "live-restore": true,
  "log-driver": "json-file",
  "log-opts": { "max-size": "10m", "max-file": "3" }
}
SETTINGS
}

# Writes Docker's settings if there are none; existing ones are not changed.
configure_docker() {
    [[ ! -e $docker_settings ]] || return 0
    say "Writing $docker_settings: instances outlive a restart of Docker, ports cost no process, logs are bounded."
    mkdir -p "$(dirname "$docker_settings")"
    docker_settings_text >"$docker_settings"
}

# Removes what configure_docker wrote, unless it was changed since. A running Docker uses it until it is restarted.
unconfigure_docker() {
    if docker_settings_text | cmp -s - "$docker_settings"; then
        rm "$docker_settings"
    fi
}

start_docker() {
    if have_systemd; then
        say "Starting Docker."
        systemctl enable --now docker
    else
        say "Starting dockerd in the background (no systemd here); its log is $docker_log."
        mkdir -p "$(dirname "$docker_log")"
        detached dockerd >>"$docker_log" 2>&1
    fi
}

# Returns when Docker answers, after starting it if necessary. It must be installed.
ensure_docker() {
    if docker_answers; then
        # After script/down --purge it still runs with our settings, and should keep them after its next restart. One that has them from its command
        # line is not changed: it would not start with both.
        if [[ $(docker info --format '{{.LiveRestoreEnabled}}') == true ]] && ! pgrep --full 'dockerd.* --(live-restore|userland-proxy|log-)' >/dev/null; then
            configure_docker
        fi
        return 0
    fi
    configure_docker
    start_docker
    local attempt
    for ((attempt = 0; attempt < 150; attempt++)); do
        docker_answers && return 0
        sleep 0.2
    done
    if have_systemd; then
        die "Docker does not answer after 30 s; 'journalctl -u docker' says why"
    fi
    tail -n 20 "$docker_log" >&2 || true
    die "Docker does not answer after 30 s; the end of $docker_log is above"
}

image_exists() {
    docker image inspect "$1" >/dev/null 2>&1
}
