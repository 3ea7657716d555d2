//! Server-sent events, to the extent that our API sends them.

/// Assembles lines into events.
#[derive(Debug, Default)]
pub(super) struct Events {
    data: String,
}

impl Events {
    /// Takes a line without its end; returns the data of an event that it completes.
    pub(super) fn line(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            return (!self.data.is_empty()).then(|| std::mem::take(&mut self.data));
        }
        // Other fields (ids, names, keep-alive comments) are ignored.
        let data = line.strip_prefix("data:")?;
        if !self.data.is_empty() {
            self.data.push('\n');
        }
        self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_events() {
        let mut events = Events::default();
        let all =
            [": alive", "", "event: operation", "data: {", "data: }", "id: 1", "", "data:x", ""];
        let found: Vec<String> = all.iter().filter_map(|l| events.line(l)).collect();
        assert_eq!(found, ["{\n}", "x"]);
    }
}
