//! The form for a new instance: what is kept of it, and a model provider that is set up later.

use crate::test_platform::TestPlatform;

#[tokio::test]
async fn what_is_entered_is_kept_without_the_secrets() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    let page = alice.get("/new").await;
    let inputs: Vec<_> = page.text.split("<input ").skip(1).collect();
    let marked = |mark: &str| {
        let marked = inputs.iter().filter(|i| i.split('>').next().unwrap().contains(mark));
        let mut names: Vec<_> =
            marked.map(|i| i.split("name=\"").nth(1).unwrap().split('"').next().unwrap()).collect();
        names.dedup();
        names
    };
    // Not the choice to open the bot to everybody.
    let kept = ["name", "provider", "base_url", "model"];
    assert_eq!(marked("data-keep"), kept);
    assert_eq!(marked("data-secret"), ["key", "telegram"]);
    assert_eq!(marked("type=\"password\""), ["key", "telegram"]);
}

#[tokio::test]
async fn a_provider_that_is_set_up_later_has_its_place_named() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    let form = alice.get("/new").await;
    form.has("set up in the configuration of its own Control UI");
    form.has("a provider cannot be added on this site later");
    alice.post("/new", &[("name", "later"), ("provider", "none")]).await;
    alice.post("/new", &[("name", "now"), ("provider", "openai"), ("key", "sk-1")]).await;
    let later = alice.get("/instances/later").await;
    later.has("There is no key of a model provider here");
    later.has("models.providers");
    later.has("<dd>set up in its Control UI</dd>");
    assert!(!later.text.contains("value=\"MODEL_API_KEY\""), "the engine would refuse it");
    let now = alice.get("/instances/now").await;
    now.has("value=\"MODEL_API_KEY\"");
    assert!(!now.text.contains("There is no key"));
    // What the text says is what the engine does.
    let form = [("secret", "MODEL_API_KEY"), ("value", "sk-2")];
    assert_eq!(alice.post("/instances/later/secrets", &form).await.status, 422);
}
