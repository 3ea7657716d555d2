//! Real Chromium, driven by playwright-core: a script in `tests/browser` gets its parameters as
//! JSON, can ask the test to do something meanwhile, and returns JSON.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::Platform;

/// Runs `tests/browser/NAME.mjs` against a platform.
///
/// # Panics
/// If the script fails, with its output.
pub async fn run(platform: &Platform, name: &str, parameters: Value) -> Value {
    run_with(platform, name, parameters, async |ask| panic!("{name}.mjs asks {ask}")).await
}

/// The same for a script that asks for actions outside the browser.
///
/// # Panics
/// If the script fails, with its output.
pub async fn run_with(
    platform: &Platform,
    name: &str,
    mut parameters: Value,
    mut answer: impl AsyncFnMut(Value) -> Value,
) -> Value {
    parameters["authority"] = platform.authority().display().to_string().into();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut child = Command::new("node")
        .arg(folder.join(format!("{name}.mjs")))
        .arg(parameters.to_string())
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node runs");
    let mut input = child.stdin.take().expect("a pipe");
    let mut errors = child.stderr.take().expect("a pipe");
    let complaint = tokio::spawn(async move {
        let mut text = String::new();
        let _ = errors.read_to_string(&mut text).await;
        text
    });
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut done = None;
    while let Some(line) = lines.next_line().await.expect("text") {
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(ask) = message.get("ask") {
            let answer = answer(ask.clone()).await.to_string() + "\n";
            input.write_all(answer.as_bytes()).await.expect("the script waits for an answer");
        } else if let Some(end) = message.get("done") {
            done = Some(end.clone());
        } else {
            println!("{name}.mjs: {line}");
        }
    }
    let status = child.wait().await.expect("it ends");
    let complaint = complaint.await.unwrap_or_default();
    assert!(status.success(), "{name}.mjs failed: {complaint}");
    done.unwrap_or_else(|| panic!("{name}.mjs gave no answer: {complaint}"))
}
