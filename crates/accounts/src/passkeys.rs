//! Passkeys: one is made by who is signed in, and found by the browser itself when signing in, so
//! that nobody learns from us who has one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use startclaw_engine::random;
use startclaw_model::{AccountId, Timestamp};
use startclaw_store::Passkey;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnBuilder,
};

use crate::{AccountError, Accounts, FreshSession, Origin, SignedIn, sign_in::admit};

/// How long somebody may take to touch their key.
const CEREMONY: Duration = Duration::from_secs(300);
/// Ceremonies under way at most.
const AT_ONCE: usize = 4096;
/// Passkeys that one account may have.
const MOST: usize = 20;

enum Begun {
    Registration(Box<PasskeyRegistration>, AccountId),
    SignIn(Box<DiscoverableAuthentication>),
}

/// What passkeys are made for and checked against.
pub(crate) struct Passkeys {
    site: Webauthn,
    begun: Mutex<HashMap<String, (Begun, Instant)>>,
}

impl Passkeys {
    pub fn new(site: &str) -> Result<Self, String> {
        let url = Url::parse(site).map_err(|e| format!("{site} is no address: {e}"))?;
        let domain = url.domain().ok_or_else(|| format!("{site} has no domain"))?;
        let site = WebauthnBuilder::new(domain, &url)
            .and_then(|builder| builder.rp_name("StartClaw").build())
            .map_err(|e| format!("passkeys cannot be made for {domain}: {e}"))?;
        Ok(Self { site, begun: Mutex::default() })
    }

    fn begin(&self, what: Begun) -> Result<String, AccountError> {
        let (id, now) = (random(), Instant::now());
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, (_, at)| now.saturating_duration_since(*at) < CEREMONY);
        if begun.len() >= AT_ONCE {
            return Err(AccountError::Busy);
        }
        begun.insert(id.clone(), (what, now));
        Ok(id)
    }

    /// What was begun under this id; each can be ended once.
    fn take(&self, id: &str) -> Option<Begun> {
        let found = self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        found.filter(|(_, at)| at.elapsed() < CEREMONY).map(|(begun, _)| begun)
    }
}

/// What the browser is asked to do.
#[derive(Debug, Clone)]
pub struct Ceremony {
    /// What it comes back with; a cookie's value.
    pub id: String,
    /// What goes to `navigator.credentials`.
    pub options: Value,
}

impl Accounts {
    /// Begins to make a passkey.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] for somebody who has many already.
    pub async fn begin_passkey(&self, who: &SignedIn) -> Result<Ceremony, AccountError> {
        let there = self.store().passkeys(&who.account.id).await?;
        if there.len() >= MOST {
            return Err(AccountError::invalid("label", "you have many passkeys; remove one first"));
        }
        let known = there.iter().filter_map(|key| BASE64.decode(&key.id).ok()).collect();
        let id = Uuid::parse_str(who.account.id.as_str()).map_err(AccountError::inside)?;
        let email = who.account.email.as_str();
        let (options, state) = self
            .inner
            .passkeys
            .site
            .start_passkey_registration(id, email, email, Some(known))
            .map_err(AccountError::inside)?;
        let mut options = serde_json::to_value(options).map_err(AccountError::inside)?;
        // The browser must find it by itself when signing in.
        let selection = &mut options["publicKey"]["authenticatorSelection"];
        selection["residentKey"] = json!("required");
        selection["requireResidentKey"] = json!(true);
        let begun = Begun::Registration(Box::new(state), who.account.id.clone());
        Ok(Ceremony { id: self.inner.passkeys.begin(begun)?, options })
    }

    /// Keeps the passkey that the browser made.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] when it does not belong to what was begun.
    pub async fn finish_passkey(
        &self,
        who: &SignedIn,
        ceremony: &str,
        label: &str,
        answer: &RegisterPublicKeyCredential,
    ) -> Result<(), AccountError> {
        let refused =
            || AccountError::invalid("label", "that took too long or went wrong; try again");
        let Some(Begun::Registration(state, account)) = self.inner.passkeys.take(ceremony) else {
            return Err(refused());
        };
        if account != who.account.id {
            return Err(refused());
        }
        let made = self.inner.passkeys.site.finish_passkey_registration(answer, &state);
        let made = made.map_err(|_| refused())?;
        let label: String = label.trim().chars().filter(|c| !c.is_control()).take(60).collect();
        let added = self
            .store()
            .add_passkey(&Passkey {
                id: BASE64.encode(made.cred_id()),
                account,
                label: if label.is_empty() { "Passkey".to_owned() } else { label },
                credential: serde_json::to_string(&made).map_err(AccountError::inside)?,
                created_at: Timestamp::now(),
                used_at: None,
            })
            .await?;
        if !added {
            return Err(refused());
        }
        self.note(&who.account, "added a passkey").await;
        Ok(())
    }

    /// The passkeys of somebody.
    ///
    /// # Errors
    /// Only for what failed inside.
    pub async fn passkeys(&self, id: &AccountId) -> Result<Vec<Passkey>, AccountError> {
        Ok(self.store().passkeys(id).await?)
    }

    /// Removes a passkey.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn remove_passkey(&self, who: &SignedIn, id: &str) -> Result<(), AccountError> {
        if !self.store().remove_passkey(&who.account.id, id).await? {
            return Err(AccountError::Missing("passkey"));
        }
        self.note(&who.account, "removed a passkey").await;
        Ok(())
    }

    /// Begins to sign somebody in, whoever it is.
    ///
    /// # Errors
    /// [`AccountError::Busy`].
    pub fn begin_passkey_sign_in(&self) -> Result<Ceremony, AccountError> {
        let begun = self.inner.passkeys.site.start_discoverable_authentication();
        let (options, state) = begun.map_err(AccountError::inside)?;
        let public_key = serde_json::to_value(options.public_key).map_err(AccountError::inside)?;
        let id = self.inner.passkeys.begin(Begun::SignIn(Box::new(state)))?;
        Ok(Ceremony { id, options: json!({ "publicKey": public_key }) })
    }

    /// Signs in whoever has the passkey.
    ///
    /// # Errors
    /// [`AccountError::UnknownPasskey`] whatever is wrong with it; [`AccountError::Suspended`].
    pub async fn passkey_sign_in(
        &self,
        ceremony: &str,
        answer: &PublicKeyCredential,
        origin: &Origin,
    ) -> Result<FreshSession, AccountError> {
        let unknown = || AccountError::UnknownPasskey;
        let Some(Begun::SignIn(state)) = self.inner.passkeys.take(ceremony) else {
            return Err(unknown());
        };
        let site = &self.inner.passkeys.site;
        let (user, credential) =
            site.identify_discoverable_authentication(answer).map_err(|_| unknown())?;
        let (user, credential) = (AccountId(user.to_string()), BASE64.encode(credential));
        let keys = self.store().passkeys(&user).await?;
        let mut key = keys.into_iter().find(|key| key.id == credential).ok_or_else(unknown)?;
        let mut stored: webauthn_rs::prelude::Passkey =
            serde_json::from_str(&key.credential).map_err(AccountError::inside)?;
        let proof = site
            .finish_discoverable_authentication_v2(answer, *state, &stored)
            .map_err(|_| unknown())?;
        stored.update_credential(&proof);
        key.credential = serde_json::to_string(&stored).map_err(AccountError::inside)?;
        key.used_at = Some(Timestamp::now());
        if !self.store().passkey_used(&key).await? {
            return Err(unknown());
        }
        let account = self.store().account(&user).await?.ok_or_else(unknown)?;
        self.open_session(admit(account)?, origin).await
    }
}
