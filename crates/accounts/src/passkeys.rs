//! Passkeys: one is made by who is signed in, and found by the browser itself when signing in, so
//! that nobody learns from us who has one.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use startclaw_engine::random;
use startclaw_model::{AccountId, Timestamp, is_visible};
use startclaw_store::Passkey;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnBuilder,
};

use crate::{AccountError, Accounts, FreshSession, Origin, SignedIn, network_of, sign_in::admit};

/// How long somebody may take to touch their key.
const CEREMONY: Duration = Duration::from_secs(300);
/// Sign-ins in progress at most; beyond it the oldest gives way.
const SIGN_INS: usize = 8192;
/// Sign-ins in progress from one network; beyond it its oldest gives way.
const PER_NETWORK: usize = 32;
/// Passkeys that one account may have.
const MOST: usize = 20;

/// A registration in progress: its id, its state, and when it began.
type Registration = (String, Box<PasskeyRegistration>, Instant);

/// What passkeys are made for and checked against.
pub(crate) struct Passkeys {
    site: Webauthn,
    /// One for each account, so bounded by them: strangers cannot take the place.
    registrations: Mutex<HashMap<AccountId, Registration>>,
    sign_ins: Mutex<SignIns>,
}

/// Sign-ins in progress, which strangers begin: bounded by network and in all. A new one takes an
/// old one's place instead of being refused, so that nobody is locked out by others.
#[derive(Default)]
struct SignIns {
    begun: HashMap<String, (Box<DiscoverableAuthentication>, IpAddr)>,
    /// The order in which they were begun; some may have ended since.
    order: VecDeque<(String, IpAddr, Instant)>,
    by_network: HashMap<IpAddr, VecDeque<String>>,
}

impl SignIns {
    fn add(
        &mut self,
        state: Box<DiscoverableAuthentication>,
        network: IpAddr,
        now: Instant,
    ) -> String {
        while let Some((id, _, at)) = self.order.front() {
            let over = now.saturating_duration_since(*at) >= CEREMONY;
            if !over && self.order.len() < SIGN_INS {
                break;
            }
            let id = id.clone();
            self.order.pop_front();
            self.remove(&id);
        }
        let of_network = self.by_network.get(&network);
        let oldest = of_network.filter(|ids| ids.len() >= PER_NETWORK);
        if let Some(oldest) = oldest.and_then(|ids| ids.front().cloned()) {
            self.remove(&oldest);
        }
        let id = random();
        self.begun.insert(id.clone(), (state, network));
        self.order.push_back((id.clone(), network, now));
        self.by_network.entry(network).or_default().push_back(id.clone());
        id
    }

    /// Takes one out; each can be ended once.
    fn remove(&mut self, id: &str) -> Option<Box<DiscoverableAuthentication>> {
        let (state, network) = self.begun.remove(id)?;
        if let Some(ids) = self.by_network.get_mut(&network) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_network.remove(&network);
            }
        }
        Some(state)
    }

    fn take(&mut self, id: &str, now: Instant) -> Option<Box<DiscoverableAuthentication>> {
        let begun = self.order.iter().find(|(other, ..)| other == id)?.2;
        let state = self.remove(id)?;
        (now.saturating_duration_since(begun) < CEREMONY).then_some(state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Passkeys {
    pub fn new(site: &str) -> Result<Self, String> {
        let url = Url::parse(site).map_err(|e| format!("{site} is no address: {e}"))?;
        let domain = url.domain().ok_or_else(|| format!("{site} has no domain"))?;
        let site = WebauthnBuilder::new(domain, &url)
            .and_then(|builder| builder.rp_name("StartClaw").build())
            .map_err(|e| format!("passkeys cannot be made for {domain}: {e}"))?;
        Ok(Self { site, registrations: Mutex::default(), sign_ins: Mutex::default() })
    }

    fn begin_registration(&self, account: AccountId, state: PasskeyRegistration) -> String {
        let (id, now) = (random(), Instant::now());
        let mut open = lock(&self.registrations);
        open.retain(|_, (_, _, at)| now.saturating_duration_since(*at) < CEREMONY);
        open.insert(account, (id.clone(), Box::new(state), now));
        id
    }

    /// What the account began under this id; it can be ended once.
    fn take_registration(&self, account: &AccountId, id: &str) -> Option<Box<PasskeyRegistration>> {
        let mut open = lock(&self.registrations);
        open.get(account).filter(|(begun, _, at)| begun == id && at.elapsed() < CEREMONY)?;
        open.remove(account).map(|(_, state, _)| state)
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
        // The browser must find it on its own when signing in.
        let selection = &mut options["publicKey"]["authenticatorSelection"];
        selection["residentKey"] = json!("required");
        selection["requireResidentKey"] = json!(true);
        let id = self.inner.passkeys.begin_registration(who.account.id.clone(), state);
        Ok(Ceremony { id, options })
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
        let account = who.account.id.clone();
        let state =
            self.inner.passkeys.take_registration(&account, ceremony).ok_or_else(refused)?;
        let made = self.inner.passkeys.site.finish_passkey_registration(answer, &state);
        let made = made.map_err(|_| refused())?;
        let label: String = label.trim().chars().filter(|c| is_visible(*c)).take(60).collect();
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
    /// [`AccountError::Slow`] for a network that began too many.
    pub fn begin_passkey_sign_in(&self, origin: &Origin) -> Result<Ceremony, AccountError> {
        let (network, now) = (network_of(origin.address), Instant::now());
        if let Some(wait) = self.inner.ceremonies.pause(&network, now) {
            return Err(AccountError::slow(wait));
        }
        self.inner.ceremonies.failed(network, now);
        let begun = self.inner.passkeys.site.start_discoverable_authentication();
        let (options, state) = begun.map_err(AccountError::inside)?;
        let public_key = serde_json::to_value(options.public_key).map_err(AccountError::inside)?;
        let id = lock(&self.inner.passkeys.sign_ins).add(Box::new(state), network, now);
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
        let state = lock(&self.inner.passkeys.sign_ins).take(ceremony, Instant::now());
        let state = state.ok_or_else(unknown)?;
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
