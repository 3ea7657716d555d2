//! The digest that identifies what a container was created from. Its encoding is frozen: it is
//! defined by the text below and not by the names or order of any type's fields, because another
//! digest replaces the container of every tenant. The names in it are those of the types in the
//! first version.

use std::{fmt::Write as _, time::Duration};

use serde_json::json;
use sha2::{Digest, Sha256};
use startclaw_host::{Endpoints, Workload};
use startclaw_model::{Instance, Limits};

/// Version of the container's profile, for changes that the digest does not cover.
const SHAPE: u32 = 1;

/// The digest for an instance with these endpoints. `configuration` is our part of its
/// configuration: it changes with our settings and then must be written, which needs a stopped
/// container.
pub(crate) fn digest(
    instance: &Instance,
    place: &Endpoints,
    image: &str,
    workload: &Workload,
    configuration: &[u8],
) -> String {
    let desired = &instance.desired;
    let parts = [
        json!(SHAPE).to_string(),
        json!(instance.id.as_str()).to_string(),
        json!(image).to_string(),
        limits(&desired.profile.limits),
        json!(desired.epoch).to_string(),
        json!(desired.secrets_revision).to_string(),
        json!(desired.volumes.current).to_string(),
        json!(instance.slot.0).to_string(),
        json!([place.gateway.to_string(), place.webhook.to_string(), place.proxy.to_string()])
            .to_string(),
        json!(workload_text(workload)).to_string(),
        json!(hex(&Sha256::digest(configuration))).to_string(),
    ];
    hex(&Sha256::digest(format!("[{}]", parts.join(","))))
}

fn limits(limits: &Limits) -> String {
    format!(
        r#"{{"cpus":{},"memory_hard_mib":{},"memory_soft_mib":{},"pids":{}}}"#,
        json!(limits.cpus),
        limits.memory_hard_mib,
        limits.memory_soft_mib,
        limits.pids
    )
}

/// A workload as the first version encoded it.
fn workload_text(workload: &Workload) -> String {
    let mut text = String::from("Workload { ");
    let strings = |all: &[String]| list(all.iter().map(|s| quoted(s)));
    let env = list(workload.env.iter().map(|(k, v)| format!("({}, {})", quoted(k), quoted(v))));
    let scratch = list(
        workload
            .scratch
            .iter()
            .map(|(path, size, exec)| format!("({}, {size}, {exec})", quoted(path))),
    );
    let fields = [
        ("command", strings(&workload.command)),
        ("env", env),
        ("volume_path", quoted(&workload.volume_path)),
        ("config_file", quoted(&workload.config_file)),
        ("secrets_path", quoted(&workload.secrets_path)),
        ("scratch", scratch),
        ("gateway_port", workload.gateway_port.to_string()),
        ("webhook_port", workload.webhook_port.to_string()),
        ("probe_path", quoted(&workload.probe_path)),
        ("stop_grace", seconds(workload.stop_grace)),
        ("repair_command", strings(&workload.repair_command)),
    ];
    for (n, (name, value)) in fields.iter().enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{name}: {value}");
    }
    text.push_str(" }");
    text
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A text in quotes. All texts of a workload are constants of printable ASCII, which the first
/// version encoded the same way.
fn quoted(text: &str) -> String {
    debug_assert!(
        text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
        "the encoding of other characters is not frozen: {text:?}"
    );
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A duration in whole seconds; there are no others in a workload.
fn seconds(time: Duration) -> String {
    debug_assert_eq!(time.subsec_nanos(), 0, "the encoding of fractions is not frozen");
    format!("{}s", time.as_secs())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts were written by the first version, which used Rust's `Debug` output.
    #[test]
    fn a_workload_is_written_as_in_the_first_version() {
        let workload = Workload {
            command: vec![r#"a "b" \ c 'd'"#.into(), String::new()],
            env: vec![("HOME".into(), "/home/node".into())],
            hostname: "openclaw".into(),
            volume_path: "/v".into(),
            config_file: "c.json".into(),
            secrets_path: "/s".into(),
            scratch: vec![("/tmp".into(), 512, true), ("/x".into(), 1, false)],
            gateway_port: 1,
            webhook_port: 2,
            probe_path: "/p".into(),
            stop_grace: Duration::from_secs(90),
            repair_command: Vec::new(),
        };
        let expected = concat!(
            r#"Workload { command: ["a \"b\" \\ c 'd'", ""], env: [("HOME", "/home/node")], "#,
            r#"volume_path: "/v", config_file: "c.json", secrets_path: "/s", "#,
            r#"scratch: [("/tmp", 512, true), ("/x", 1, false)], gateway_port: 1, "#,
            r#"webhook_port: 2, probe_path: "/p", stop_grace: 90s, repair_command: [] }"#,
        );
        assert_eq!(workload_text(&workload), expected);
    }

    #[test]
    fn limits_are_written_as_in_the_first_version() {
        for (cpus, text) in [(0.05, "0.05"), (1.0, "1.0"), (1.0 / 3.0, "0.3333333333333333")] {
            let all = Limits { cpus, memory_soft_mib: 512, memory_hard_mib: 2048, pids: 100 };
            let expected = format!(
                r#"{{"cpus":{text},"memory_hard_mib":2048,"memory_soft_mib":512,"pids":100}}"#
            );
            assert_eq!(limits(&all), expected);
        }
    }
}
