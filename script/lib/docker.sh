# shellcheck shell=bash
# Docker: is it there, and does it answer.

readonly docker_settings=/etc/docker/daemon.json
readonly docker_log=/var/log/startclaw/dockerd.log

docker_answers() {
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# Writes Docker's settings where there are none; the settings of somebody else are left as they are.
configure_docker() {
    [[ ! -e $docker_settings ]] || return 0
    say "Writing $docker_settings: instances outlive a restart of Docker, ports cost no process, logs are bounded."
    mkdir -p "$(dirname "$docker_settings")"
    cat >"$docker_settings" <<'SETTINGS'
{
  "userland-proxy": false,
  "live-restore": true,
  "log-driver": "json-file",
  "log-opts": { "max-size": "10m", "max-file": "3" }
}
SETTINGS
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

# Returns when Docker answers, having started it if need be. It must be installed.
ensure_docker() {
    docker_answers && return 0
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
