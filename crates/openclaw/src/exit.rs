//! OpenClaw's exit codes.

/// Exit code of a damaged configuration or state.
pub const DAMAGED: i64 = 78;

/// The cause of a container's exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The reason, for its owner.
    pub reason: String,
    /// Whether the repair command may help.
    pub repairable: bool,
}

/// Interprets an exit code.
pub fn ending(code: i64, oom_killed: bool) -> Ending {
    let reason = match code {
        _ if oom_killed => "it ran out of memory: raise its memory_hard_mib".to_owned(),
        0 => "it exited (exit code 0)".to_owned(),
        DAMAGED => "its configuration or state is damaged (exit code 78)".to_owned(),
        137 => "it was killed (exit code 137)".to_owned(),
        143 => "it was terminated (exit code 143)".to_owned(),
        134 => "it aborted (exit code 134), most often because its own heap was full: raise its \
                memory_hard_mib"
            .to_owned(),
        139 => "it crashed (segmentation fault)".to_owned(),
        code => format!("it ended with exit code {code}"),
    };
    Ending { reason, repairable: code == DAMAGED && !oom_killed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_before_the_code_and_78_can_be_repaired() {
        assert!(ending(137, true).reason.contains("memory"));
        assert!(ending(78, false).repairable);
        assert!(!ending(1, false).repairable);
        assert!(ending(134, false).reason.contains("heap"));
    }
}
