# shellcheck shell=bash
# Debian packages.

package_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs the missing ones of the named packages, without recommended ones.
ensure_packages() {
    local package missing=()
    for package in "$@"; do
        package_installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "Installing Debian packages: ${missing[*]}."
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update || die "Debian's package lists cannot be fetched: apt's output is above"
    # On a host that has just been started, another apt may be running.
    quietly apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" ||
        die "the packages could not be installed: apt's output is above"
}
