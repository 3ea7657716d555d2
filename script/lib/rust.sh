# shellcheck shell=bash
# The Rust toolchain: found or installed. Needs common.sh and packages.sh.

readonly rustup_version=1.28.2
readonly rustup_site=https://static.rust-lang.org

# The oldest Rust that can build the project.
rust_wanted() {
    sed -n 's/^rust-version = "\(.*\)"/\1/p' "$project_root/Cargo.toml"
}

# The toolchain of development and tests; rustup reads it from rust-toolchain.toml.
rust_pinned() {
    sed -n 's/^channel = "\(.*\)"/\1/p' "$project_root/rust-toolchain.toml"
}

# True if cargo on the path uses a rustc that is new enough.
rust_suffices() {
    local version
    have_command cargo && have_command rustc || return 1
    version=$(cd "$project_root" && cargo --version >/dev/null 2>&1 && rustc --version 2>/dev/null) || return 1
    version=${version#rustc } version=${version%% *}
    printf '%s\n' "$(rust_wanted)" "${version%%-*}" | sort --check=quiet --version-sort
}

# Adds a Rust that is new enough to this script's path; false if there is none. sudo removes the user's own folders from the path, so theirs are
# searched as well.
find_rust() {
    rust_suffices && return 0
    local home found=$PATH found_rustup=${RUSTUP_HOME-} homes=("$HOME")
    [[ -z ${SUDO_USER-} ]] || homes+=("$(getent passwd "$SUDO_USER" | cut --delimiter : --fields 6)")
    for home in "${CARGO_HOME-}" "${homes[@]/%//.cargo}" /usr/local /usr/local/cargo; do
        [[ -x $home/bin/cargo ]] || continue
        export PATH=$home/bin:$found
        rust_suffices && return 0
        # rustup looks for its toolchains in the caller's home; the packages of root's builds stay in root's.
        if [[ $home == */.cargo && -d ${home%/.cargo}/.rustup ]]; then
            export RUSTUP_HOME=${home%/.cargo}/.rustup
            rust_suffices && return 0
            if [[ -n $found_rustup ]]; then RUSTUP_HOME=$found_rustup; else unset RUSTUP_HOME; fi
        fi
    done
    export PATH=$found
    return 1
}

# For scripts that run cargo without bootstrap.
need_rust() {
    find_rust || die "there is no Rust $(rust_wanted) or newer here: script/bootstrap installs it"
}

# An existing rustup is not changed: the command to run is printed instead.
ensure_rust() {
    find_rust && return 0
    local wanted
    wanted=$(rust_pinned)
    if have_command rustup || [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/rustup ]]; then
        die "Rust $wanted or newer is needed: run 'rustup toolchain install $wanted', then this again"
    fi
    ensure_packages ca-certificates curl
    curl --silent --fail --head --output /dev/null --max-time 10 "$rustup_site/rustup/release-stable.toml" ||
        die "Rust $wanted or newer is needed, and $rustup_site cannot be reached. Where it can be:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain $wanted"
    say "Installing Rust $wanted into ${CARGO_HOME:-$HOME/.cargo}."
    install_rust "$wanted"
    find_rust || die "Rust $wanted was installed, but ${CARGO_HOME:-$HOME/.cargo}/bin/cargo does not work"
}

# The checksums are those of https://static.rust-lang.org/rustup/archive/1.28.2/TARGET/rustup-init.sha256.
install_rust() {
    local target sum directory status=0
    case $(debian_architecture) in
        amd64) target=x86_64-unknown-linux-gnu sum=20a06e644b0d9bd2fbdbfd52d42540bdde820ea7df86e92e533c073da0cdd43c ;;
        arm64) target=aarch64-unknown-linux-gnu sum=e3853c5a252fca15252d07cb23a1bdd9377a8c6f3efa01531109281ae47f841c ;;
    esac
    directory=$(mktemp -d)
    if curl --silent --show-error --fail --max-time 300 --output "$directory/rustup-init" \
        "$rustup_site/rustup/archive/$rustup_version/$target/rustup-init" &&
        sha256sum --check --status <<<"$sum  $directory/rustup-init"; then
        chmod 0700 "$directory/rustup-init"
        # An outdated Rust of Debian on the path does not matter.
        RUSTUP_INIT_SKIP_PATH_CHECK=yes quietly "$directory/rustup-init" -y --no-modify-path \
            --profile minimal --default-toolchain "$1" || status=$?
    else
        status=1
    fi
    rm -rf "$directory"
    [[ $status -eq 0 ]] || die "rustup could not be fetched whole, or could not install Rust $1"
}

# Additional components for the lints.
ensure_rust_lints() {
    (cd "$project_root" && cargo clippy --version && cargo fmt --version) >/dev/null 2>&1 && return 0
    say "Installing clippy and rustfmt."
    (cd "$project_root" && quietly rustup component add clippy rustfmt) ||
        die "clippy and rustfmt are needed: install them beside the toolchain that is on the path"
}
