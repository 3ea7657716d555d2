//! `/new`: creates an instance, in three steps.

use askama::Template;
use axum::{extract::Query, http::StatusCode, response::Response};
use serde::Deserialize;
use startclaw_engine::EngineError;
use startclaw_model::{ModelProvider, Name, ProviderKind, Secret, TelegramAccess};

use crate::{
    access::{CurrentUser, NewInstance},
    answer::{Answer, Rejection, go, page, page_with},
    assets::Page as _,
    check::KeyStatus,
    error::sentence,
    form::{Field, SecretField, Sent},
    frame::{Notice, Site},
};

#[derive(Template)]
#[template(path = "new.html")]
struct New {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    full: bool,
    form: NewForm,
    name_answer: String,
}

#[derive(Default)]
struct NewForm {
    name: Field,
    provider: Field,
    model: Field,
    base_url: Field,
    key: SecretField,
    telegram: SecretField,
}

#[derive(Template)]
#[template(path = "part/answer.html")]
struct AnswerPart {
    answer: Feedback,
}

struct Feedback {
    tone: &'static str,
    text: String,
}

#[derive(Deserialize)]
pub(crate) struct FormData {
    #[serde(default)]
    name: String,
    #[serde(default)]
    provider: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    base_url: String,
    key: Option<Secret>,
    telegram: Option<Secret>,
    /// Sent by a checkbox only when it is checked.
    telegram_open: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct WantedName {
    #[serde(default)]
    name: String,
}

pub(crate) async fn show(user: CurrentUser) -> Answer {
    let form = NewForm { provider: Field::of("anthropic"), ..NewForm::default() };
    Ok(page(&render_form(&user, form, None).await?))
}

pub(crate) async fn make(user: CurrentUser, Sent(sent): Sent<FormData>) -> Answer {
    let mut form = NewForm {
        name: Field::of(&sent.name),
        provider: Field::of(&sent.provider),
        model: Field::of(&sent.model),
        base_url: Field::of(&sent.base_url),
        ..NewForm::default()
    };
    if user.must_confirm() {
        let text = "Confirm your address first: the link is in the mail that we sent you.";
        let page = render_form(&user, form, Some(Notice::bad(text))).await?;
        return Ok(page_with(StatusCode::FORBIDDEN, &page));
    }
    let name = match Name::parse(sent.name.trim()) {
        Ok(name) => name,
        Err(e) => {
            form.name.error = Some(sentence(&e.to_string()));
            let page = render_form(&user, form, None).await?;
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &page));
        }
    };
    let provider = sent.provider();
    let telegram_access = sent.access();
    let wanted = NewInstance {
        name,
        api_key: given(sent.key).filter(|_| provider.is_some()),
        provider,
        telegram_access,
        telegram_bot_token: given(sent.telegram),
    };
    match user.provision(wanted).await {
        Ok(operation) => Ok(go(&format!("/operations/{}", operation.id))),
        Err(e) => {
            let (status, notice) = place(&mut form, &e);
            let Some(status) = status else { return Err(user.refuse(e)) };
            Ok(page_with(status, &render_form(&user, form, notice).await?))
        }
    }
}

/// Puts an error of the engine beside the field that it is about.
fn place(form: &mut NewForm, e: &EngineError) -> (Option<StatusCode>, Option<Notice>) {
    let text = sentence(&e.to_string());
    let status = match e {
        EngineError::NameTaken(_) | EngineError::Removing(_) => {
            form.name.error = Some("This name is taken. Choose another one.".into());
            return (Some(StatusCode::CONFLICT), None);
        }
        EngineError::Quota(_) | EngineError::Full => {
            return (Some(StatusCode::FORBIDDEN), Some(Notice::bad(text)));
        }
        EngineError::TooSoon { .. } => {
            return (Some(StatusCode::TOO_MANY_REQUESTS), Some(Notice::bad(text)));
        }
        EngineError::Invalid { field, .. } => {
            match field.as_str() {
                "provider.base_url" => form.base_url.error = Some(text),
                "provider.model" => form.model.error = Some(text),
                "api_key" => form.key.error = Some(text),
                "telegram_bot_token" => form.telegram.error = Some(text),
                "name" => form.name.error = Some(text),
                _ => form.provider.error = Some(text),
            }
            StatusCode::UNPROCESSABLE_ENTITY
        }
        _ => return (None, None),
    };
    (Some(status), None)
}

impl FormData {
    fn provider(&self) -> Option<ModelProvider> {
        let kind = ProviderKind::parse(&self.provider)?;
        let text = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
        let base_url = text(&self.base_url).filter(|_| kind == ProviderKind::Custom);
        Some(ModelProvider { kind, model: text(&self.model), base_url })
    }
}

impl FormData {
    /// A bot is open only if the user chose so and gave a bot token.
    fn access(&self) -> TelegramAccess {
        let bot = self.telegram.as_ref().is_some_and(|t| !t.expose().trim().is_empty());
        match self.telegram_open.is_some() && bot {
            true => TelegramAccess::Open,
            false => TelegramAccess::Pairing,
        }
    }
}

/// A secret from a form, trimmed of pasted whitespace; `None` if empty.
pub(crate) fn given(secret: Option<Secret>) -> Option<Secret> {
    let text = secret?.expose().trim().to_owned();
    (!text.is_empty()).then(|| Secret::new(text))
}

async fn render_form(
    user: &CurrentUser,
    form: NewForm,
    notice: Option<Notice>,
) -> Result<New, Rejection> {
    let info = user.info().await?;
    Ok(New {
        site: user.site(),
        here: "new",
        notice,
        full: info.usage.instances >= info.quota.instances,
        form,
        name_answer: String::new(),
    })
}

/// Whether a name is available.
pub(crate) async fn name(user: CurrentUser, Query(wanted): Query<WantedName>) -> Response {
    let text = wanted.name.trim();
    if text.is_empty() {
        return feedback("info", String::new());
    }
    let name = match Name::parse(text) {
        Ok(name) => name,
        Err(e) => return feedback("bad", sentence(&e.to_string())),
    };
    if user.is_taken(&name) {
        return feedback("bad", format!("{name} is taken."));
    }
    feedback("good", format!("{name}.{} is free.", user.settings().domain))
}

/// Whether a provider accepts a key.
pub(crate) async fn key(user: CurrentUser, Sent(sent): Sent<FormData>) -> Response {
    let provider = sent.provider();
    let (Some(provider), Some(key)) = (provider, given(sent.key)) else {
        return feedback("info", String::new());
    };
    if provider.check().is_err() {
        return feedback("info", "Enter the address and the model to verify the key.".into());
    }
    match user.check_key(&provider, &key).await {
        KeyStatus::Valid(_) => feedback("good", "Key verified.".into()),
        KeyStatus::Invalid(why) => feedback("bad", why.into()),
        KeyStatus::Unknown(why) => feedback("info", why.into()),
    }
}

/// Whether Telegram knows a bot token.
pub(crate) async fn telegram(user: CurrentUser, Sent(sent): Sent<FormData>) -> Response {
    let Some(token) = given(sent.telegram) else { return feedback("info", String::new()) };
    match user.check_bot(&token).await {
        KeyStatus::Valid(name) if name.is_empty() => feedback("good", "Token verified.".into()),
        KeyStatus::Valid(name) => feedback("good", format!("This is @{name}.")),
        KeyStatus::Invalid(why) => feedback("bad", why.into()),
        KeyStatus::Unknown(why) => feedback("info", why.into()),
    }
}

fn feedback(tone: &'static str, text: String) -> Response {
    page(&AnswerPart { answer: Feedback { tone, text } })
}
