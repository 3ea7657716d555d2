//! Reads the output of a worker, within limits: a worker opens files of tenants and may be
//! compromised.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

/// The longest line that is read: a list of 10,000 snapshots has 2 MiB.
const LINE_LIMIT: usize = 16 << 20;
/// How much of the end of its stderr is kept.
const ERRORS_KEPT: usize = 4096;

/// The next line, without its end; `None` at the end of the input.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a line that is too long.
pub(super) async fn read_line(
    input: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<Vec<u8>>> {
    read_line_up_to(input, LINE_LIMIT).await
}

async fn read_line_up_to(
    input: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut bounded = input.take(limit as u64 + 1);
    bounded.read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() >= limit => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a line that is too long"))
        }
        Some(last) => {
            line.push(last);
            Ok(Some(line))
        }
    }
}

/// Reads all of `errors`, so that the writer never blocks, and keeps the end of it.
pub(super) async fn drain(mut errors: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = errors.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        kept.drain(..kept.len().saturating_sub(ERRORS_KEPT));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_is_read_up_to_a_bound() {
        let mut input = &b"one\n\nfive!\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = read_line_up_to(&mut input, 5).await.unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["one", "", "five!", "last"]);
        for long in [&b"sixsix\n"[..], b"sixsix"] {
            let error = read_line_up_to(&mut &*long, 5).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let endless = tokio::io::repeat(b'x');
        let error = read_line(&mut tokio::io::BufReader::new(endless)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn the_end_of_stderr_is_kept_and_all_of_it_read() {
        let text = format!("{}last words", "x".repeat(1 << 20));
        let kept = drain(text.as_bytes()).await;
        assert_eq!(kept.len(), ERRORS_KEPT);
        assert!(kept.ends_with("xlast words"));
    }
}
