//! Pages with live data: a lost connection, and the log of an instance that fails.

use startclaw_model::{InstanceState, Name};
use startclaw_simulated::Behaviour;

use crate::test_platform::{TestPlatform, until};

#[tokio::test]
async fn a_page_can_say_that_it_is_not_up_to_date_and_nothing_moves() {
    let platform = TestPlatform::new().await;
    let browser = platform.browser();
    browser.get("/").await.has("id=\"lost\" hidden>Not up to date. Trying again…<");
    assert!(rule(&platform, ".lost").await.contains("position: fixed"));
}

#[tokio::test]
async fn the_log_of_a_failing_instance_opens_at_its_newest_line() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    platform.host.state().next_behaviour = Behaviour::Exits(1);
    alice.post("/new", &[("name", "alice")]).await;
    let name = Name::parse("alice").unwrap();
    until("it is failing", async || {
        let status = platform.engine.status(&name).await;
        status.is_ok_and(|s| s.state == InstanceState::Failing && s.last_log.len() > 1)
    })
    .await;
    let page = alice.get("/instances/alice").await;
    // Its one child holds the lines in their order, and is shown from its end.
    page.has("<span><span>start 0</span><span>start 1</span>");
    assert!(rule(&platform, ".lines").await.contains("flex-direction: column-reverse"));
    assert!(rule(&platform, ".lines > span").await.contains("flex: none"), "it would be cut");
}

/// The last rule of a selector in the style sheet.
async fn rule(platform: &TestPlatform, selector: &str) -> String {
    let sheet = platform.browser().get("/assets/app.css").await.text;
    let begin = format!("\n{selector} {{");
    sheet.rsplit_once(&begin).unwrap().1.split('}').next().unwrap().to_owned()
}
