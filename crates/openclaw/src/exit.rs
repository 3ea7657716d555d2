//! OpenClaw's exit codes.

/// Exit code of a damaged configuration or state.
const DAMAGED: i64 = 78;

/// Whether OpenClaw ended because its configuration or state is damaged, so that its repair command
/// may help.
pub const fn is_damaged(code: i64, oom_killed: bool) -> bool {
    code == DAMAGED && !oom_killed
}

/// Why a container ended, for its owner.
pub fn exit_reason(code: i64, oom_killed: bool) -> String {
    match code {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_before_the_code_and_78_can_be_repaired() {
        assert!(exit_reason(137, true).contains("memory"));
        assert!(is_damaged(78, false));
        assert!(!is_damaged(1, false));
        assert!(exit_reason(134, false).contains("heap"));
    }
}
