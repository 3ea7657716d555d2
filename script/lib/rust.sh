# shellcheck shell=bash
# The Rust toolchain: found where people have it, or installed. Needs common.sh and packages.sh.

readonly rustup_version=1.28.2
readonly rustup_site=https://static.rust-lang.org

# The oldest Rust that builds the project.
rust_wanted() {
    sed -n 's/^rust-version = "\(.*\)"/\1/p' "$project_root/Cargo.toml"
}

# The toolchain that the project is developed and tested with; rustup takes it on its own from rust-toolchain.toml.
rust_pinned() {
    sed -n 's/^channel = "\(.*\)"/\1/p' "$project_root/rust-toolchain.toml"
}

# True when the cargo on the path goes with a rustc that is new enough.
rust_suffices() {
    local version
    have_command cargo && have_command rustc || return 1
    version=$(cd "$project_root" && cargo --version >/dev/null 2>&1 && rustc --version 2>/dev/null) || return 1
    version=${version#rustc } version=${version%% *}
    printf '%s\n' "$(rust_wanted)" "${version%%-*}" | sort --check=quiet --version-sort
}

# Puts a Rust that is new enough on this script's path; false when there is none.
# sudo takes the person's own folders off the path, so theirs is looked into as well.
find_rust() {
    rust_suffices && return 0
    local home found=$PATH found_rustup=${RUSTUP_HOME-} homes=("$HOME")
    [[ -z ${SUDO_USER-} ]] || homes+=("$(getent passwd "$SUDO_USER" | cut --delimiter : --fields 6)")
    for home in "${CARGO_HOME-}" "${homes[@]/%//.cargo}" /usr/local /usr/local/cargo; do
        [[ -x $home/bin/cargo ]] || continue
        export PATH=$home/bin:$found
        rust_suffices && return 0
        # rustup looks for its toolchains in the home of whoever calls it; the packages of root's builds stay in root's.
        if [[ $home == */.cargo && -d ${home%/.cargo}/.rustup ]]; then
            export RUSTUP_HOME=${home%/.cargo}/.rustup
            rust_suffices && return 0
            if [[ -n $found_rustup ]]; then RUSTUP_HOME=$found_rustup; else unset RUSTUP_HOME; fi
        fi
    done
    export PATH=$found
    return 1
}

# For scripts that run cargo and do not call bootstrap.
need_rust() {
    find_rust || die "there is no Rust $(rust_wanted) or newer here: script/bootstrap installs it"
}

# Somebody's own toolchain is not changed: whoever has rustup is told the command.
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

# The checksums are those that https://static.rust-lang.org/rustup/archive/1.28.2/TARGET/rustup-init.sha256 told.
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
        # Debian's own Rust, too old, may be on the path: that is no hindrance.
        RUSTUP_INIT_SKIP_PATH_CHECK=yes quietly "$directory/rustup-init" -y --no-modify-path \
            --profile minimal --default-toolchain "$1" || status=$?
    else
        status=1
    fi
    rm -rf "$directory"
    [[ $status -eq 0 ]] || die "rustup could not be fetched whole, or could not install Rust $1"
}

# What only the lints need.
ensure_rust_lints() {
    (cd "$project_root" && cargo clippy --version && cargo fmt --version) >/dev/null 2>&1 && return 0
    say "Installing clippy and rustfmt."
    (cd "$project_root" && quietly rustup component add clippy rustfmt) ||
        die "clippy and rustfmt are needed: install them beside the toolchain that is on the path"
}
