//! The two listeners: the Unix socket for operators, and the loopback port for Caddy.

use std::{
    convert::Infallible,
    fs,
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown},
    path::Path,
};

use anyhow::{Context, bail};
use axum::{
    extract::Request,
    response::Response,
    serve::{IncomingStream, Listener},
};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// Members of this group may open the socket.
const GROUP: &str = "startclaw";

/// Creates a folder with this mode; an existing one keeps its mode.
pub fn private_folder(folder: &Path, mode: u32) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .with_context(|| format!("cannot create {}", folder.display()))
}

/// Listens at `path` for root and the group `startclaw`.
///
/// The socket gets its permissions under a temporary name and is then renamed, so that it is never
/// open to others, and the socket left by a killed daemon is replaced atomically.
pub async fn socket(path: &Path) -> anyhow::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            bail!("{} exists and is not a socket", path.display());
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            bail!("another daemon listens on {}", path.display());
        }
        _ => {}
    }
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("cannot remove {}", draft.display()));
        }
        _ => {}
    }
    let cannot = || format!("cannot listen at {}", path.display());
    let listener = UnixListener::bind(&draft).with_context(cannot)?;
    let group = group_id(&fs::read_to_string("/etc/group").unwrap_or_default(), GROUP);
    let mode = match group.map(|gid| chown(&draft, None, Some(gid))) {
        Some(Ok(())) => 0o660,
        Some(Err(e)) => {
            tracing::warn!(error = %e, "the socket is for this user only: it cannot be given to the group {GROUP}");
            0o600
        }
        None => 0o600,
    };
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode)).with_context(cannot)?;
    fs::rename(&draft, path).with_context(cannot)?;
    Ok(listener)
}

/// Finds the id of a group in the text of `/etc/group`.
fn group_id(groups: &str, wanted: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(wanted)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Serves until `close` is cancelled.
pub async fn serve<L, M, S>(what: &'static str, listener: L, make: M, close: CancellationToken)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
    M: for<'a> tower::Service<IncomingStream<'a, L>, Error = Infallible, Response = S>
        + Send
        + 'static,
    for<'a> <M as tower::Service<IncomingStream<'a, L>>>::Future: Send,
    S: tower::Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let served = axum::serve(listener, make).with_graceful_shutdown(close.cancelled_owned()).await;
    if let Err(e) = served {
        tracing::error!(what, error = %e, "a listener failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nstartclaw2:x:7:\nstartclaw:x:998:alice,bob\n";
        assert_eq!(group_id(groups, "startclaw"), Some(998));
        assert_eq!(group_id(groups, "claw"), None);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let first = socket(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0, "not for others");
        assert!(socket(&path).await.is_err());
        drop(first);
        socket(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(socket(&path).await.is_err(), "only sockets are replaced");
    }
}
