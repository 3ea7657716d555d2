//! Passkeys: registered by a signed-in user, and discovered by the browser at sign-in, so that the
//! server does not reveal which accounts have one.

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

/// How long the user may take to confirm with their key.
const CEREMONY: Duration = Duration::from_secs(300);
/// Maximum number of sign-ins in progress; a further one replaces the oldest.
const SIGN_INS: usize = 8192;
/// The same for one network; a further one replaces its oldest.
const PER_NETWORK: usize = 32;
/// Maximum number of passkeys per account.
const MOST: usize = 20;

/// A registration in progress: its id, its state, and its start.
type Registration = (String, Box<PasskeyRegistration>, Instant);

/// WebAuthn configuration and ceremonies in progress.
pub(crate) struct Passkeys {
    site: Webauthn,
    /// One per account, so that other clients cannot exhaust it.
    registrations: Mutex<HashMap<AccountId, Registration>>,
    sign_ins: Mutex<SignIns>,
}

/// Sign-ins in progress, begun by unauthenticated clients: limited per network and in total. A new
/// one replaces an old one instead of being rejected, so that attackers cannot lock users out.
#[derive(Default)]
struct SignIns {
    begun: HashMap<String, (Box<DiscoverableAuthentication>, IpAddr)>,
    /// In order of their start; some may have ended.
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

    /// Removes one; each can be finished once.
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

    /// The account's registration of this id; can be finished once.
    fn take_registration(&self, account: &AccountId, id: &str) -> Option<Box<PasskeyRegistration>> {
        let mut open = lock(&self.registrations);
        open.get(account).filter(|(begun, _, at)| begun == id && at.elapsed() < CEREMONY)?;
        open.remove(account).map(|(_, state, _)| state)
    }
}

/// Options for the browser's WebAuthn call.
#[derive(Debug, Clone)]
pub struct Ceremony {
    /// Identifies the ceremony; the value of a cookie.
    pub id: String,
    /// The argument of `navigator.credentials`.
    pub options: Value,
}

impl Accounts {
    /// Begins the registration of a passkey.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] if the account has the maximum number.
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
        // The browser must discover it at sign-in.
        let selection = &mut options["publicKey"]["authenticatorSelection"];
        selection["residentKey"] = json!("required");
        selection["requireResidentKey"] = json!(true);
        let id = self.inner.passkeys.begin_registration(who.account.id.clone(), state);
        Ok(Ceremony { id, options })
    }

    /// Stores the passkey that the browser created.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] if it does not match a registration in progress.
    pub async fn finish_passkey(
        &self,
        who: &SignedIn,
        ceremony: &str,
        label: &str,
        answer: &RegisterPublicKeyCredential,
    ) -> Result<(), AccountError> {
        let refused =
            || AccountError::invalid("label", "registration timed out or failed; try again");
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

    /// The passkeys of an account.
    ///
    /// # Errors
    /// Internal errors only.
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

    /// Begins a sign-in by passkey; the account is not known yet.
    ///
    /// # Errors
    /// [`AccountError::Slow`] if the network began too many.
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

    /// Signs in by passkey.
    ///
    /// # Errors
    /// [`AccountError::UnknownPasskey`] whatever the cause; [`AccountError::Suspended`].
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
