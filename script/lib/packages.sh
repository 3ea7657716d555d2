# shellcheck shell=bash
# Debian's packages.

package_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs those of the named packages that are missing, without what they only recommend.
ensure_packages() {
    local package missing=()
    for package in "$@"; do
        package_installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "Installing Debian packages: ${missing[*]}."
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update || die "Debian's package lists cannot be fetched: what apt said is above"
    # Another apt may be at work on a machine that has just been started.
    quietly apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" ||
        die "the packages could not be installed: what apt said is above"
}
