//! Times as text.

use std::time::Duration;

use startclaw_model::Timestamp;

/// Time since `then`, in one unit: `12s`, `5m`, `3h`, `9d`.
pub fn ago(then: Timestamp) -> String {
    short(Timestamp::now().since(then))
}

fn short(d: Duration) -> String {
    match d.as_secs() {
        s @ 0..=119 => format!("{s}s"),
        s @ 120..=7199 => format!("{}m", s / 60),
        s @ 7200..=172_799 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// A duration: `0.1 s`, `2 min 5 s`.
pub fn took(d: Duration) -> String {
    if d < Duration::from_secs(100) {
        format!("{:.1} s", d.as_secs_f64())
    } else {
        format!("{} min {} s", d.as_secs() / 60, d.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, text) in [(5, "5s"), (300, "5m"), (7200, "2h"), (900_000, "10d")] {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
        assert_eq!(took(Duration::from_millis(1240)), "1.2 s");
        assert_eq!(took(Duration::from_secs(125)), "2 min 5 s");
    }
}
