//! Real Chromium, driven by playwright-core: a script in `tests/browser` gets its parameters
//! as JSON and answers with JSON in its last line.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

/// Runs `tests/browser/NAME.mjs`.
///
/// # Panics
/// When the script fails, with what it printed.
pub async fn run(name: &str, parameters: Value) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let output = Command::new("node")
        .arg(folder.join(format!("{name}.mjs")))
        .arg(parameters.to_string())
        .current_dir(&folder)
        .kill_on_drop(true)
        .output()
        .await
        .expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{name}.mjs failed:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{name}.mjs answered {last:?}: {e}"))
}
