//! Splits a body into lines.

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

/// A longer line is split, so that memory stays bounded.
const LONGEST: usize = 1024 * 1024;

/// The lines of `body` without line ends, as text; invalid UTF-8 is replaced.
pub(super) fn lines<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<String, E>> + Send + 'static
where
    E: Send + 'static,
{
    stream::unfold((body, Vec::new(), false), |(mut body, mut rest, mut over)| async move {
        loop {
            let end = rest.iter().position(|b| *b == b'\n');
            let end =
                end.map(|n| (n, n + 1)).or((rest.len() > LONGEST).then_some((LONGEST, LONGEST)));
            if let Some((line, taken)) = end {
                let mut text: Vec<u8> = rest.drain(..taken).collect();
                text.truncate(line);
                if text.last() == Some(&b'\r') {
                    text.pop();
                }
                return Some((Ok(as_text(&text)), (body, rest, over)));
            }
            if over {
                let text = as_text(&std::mem::take(&mut rest));
                return (!text.is_empty()).then_some((Ok(text), (body, rest, over)));
            }
            match body.next().await {
                Some(Ok(bytes)) => rest.extend_from_slice(&bytes),
                Some(Err(e)) => return Some((Err(e), (body, Vec::new(), true))),
                None => over = true,
            }
        }
    })
}

fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_become_lines() {
        let pieces = ["a\nb", "c\r\n", "\nlast"].map(|p| Ok::<_, ()>(Bytes::from(p)));
        let found: Vec<_> = lines(stream::iter(pieces)).map(Result::unwrap).collect().await;
        assert_eq!(found, ["a", "bc", "", "last"]);
    }
}
