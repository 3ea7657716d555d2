//! Accounts: authentication, administration and quotas.
//!
//! Authentication happens here and nowhere else; access follows from [`SignedIn`]. Instances belong
//! to the engine, which stores their account.

mod deletion;
mod error;
mod links;
mod mail;
mod manage;
mod passkeys;
mod password;
mod sessions;
mod settings;
mod sign_in;
mod sign_up;
mod throttle;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use startclaw_engine::Engine;
use startclaw_store::Store;
use tokio::sync::{Notify, Semaphore};

pub use error::AccountError;
pub use links::FreshLink;
pub use manage::AccountInfo;
pub use passkeys::Ceremony;
pub use sessions::{FreshSession, SESSION_LIFETIME, SignedIn};
pub use settings::{AccountSettings, MailSettings, SignUp};
pub use sign_up::was_asked_for;
pub use startclaw_store::{AccountSession, Link, LinkKind, Passkey, Usage};
pub use throttle::{Throttle, network_of};

/// Failed sign-ins from one network, and the window: a family or an office may mistype often.
const BY_NETWORK: (u32, Duration) = (20, Duration::from_secs(300));
/// Failed sign-ins to one account from all devices that never signed in to it.
const BY_STRANGERS: (u32, Duration) = (10, Duration::from_secs(900));
/// Failed sign-ins to one account from devices that signed in to it before.
const BY_DEVICE: (u32, Duration) = (10, Duration::from_secs(900));
/// Passkey sign-ins begun from one network, and the window. Each load of the sign-in page begins
/// one.
const CEREMONIES: (u32, Duration) = (100, Duration::from_secs(300));
/// Accounts created, and links requested, from one network.
const REQUESTS: (u32, Duration) = (10, Duration::from_secs(3600));
/// Mails that anybody can request for one address, and the window.
const MAILS: (u32, Duration) = (3, Duration::from_secs(3600));
/// Mails that anybody can request and that are being sent. A slow mail server must not pile up
/// connections.
const SENDING: usize = 16;

/// The origin of a request.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// The browser's user agent.
    pub device: String,
}

/// All accounts. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    engine: Engine,
    settings: AccountSettings,
    /// The origin of the portal, such as `https://example.com`.
    site: String,
    hasher: password::Hasher,
    mailer: Option<mail::Mailer>,
    passkeys: passkeys::Passkeys,
    by_network: Throttle<IpAddr>,
    by_strangers: Throttle<String>,
    by_device: Throttle<String>,
    asked: Throttle<IpAddr>,
    mailed: Throttle<String>,
    sending: Semaphore,
    ceremonies: Throttle<IpAddr>,
    /// Wakes the deletion loop.
    deletion_requested: Notify,
}

impl Accounts {
    /// `site` is the origin of the portal, such as `https://example.com:8443`.
    ///
    /// # Errors
    /// The invalid setting.
    pub fn new(
        store: Store,
        engine: Engine,
        settings: AccountSettings,
        site: &str,
    ) -> Result<Self, String> {
        let mailer = mail::Mailer::new(&settings.mail)?;
        let passkeys = passkeys::Passkeys::new(site)?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                engine,
                settings,
                site: site.to_owned(),
                hasher: password::Hasher::new()?,
                mailer,
                passkeys,
                by_network: Throttle::new(BY_NETWORK.0, BY_NETWORK.1),
                by_strangers: Throttle::new(BY_STRANGERS.0, BY_STRANGERS.1),
                by_device: Throttle::new(BY_DEVICE.0, BY_DEVICE.1),
                asked: Throttle::new(REQUESTS.0, REQUESTS.1),
                mailed: Throttle::new(MAILS.0, MAILS.1),
                sending: Semaphore::new(SENDING),
                ceremonies: Throttle::new(CEREMONIES.0, CEREMONIES.1),
                deletion_requested: Notify::new(),
            }),
        })
    }

    /// The configured settings.
    pub fn settings(&self) -> &AccountSettings {
        &self.inner.settings
    }

    /// Whether mail can be sent.
    pub fn has_mail(&self) -> bool {
        self.inner.mailer.is_some()
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Counts a request that costs resources; rejects it above the limit.
    fn count_request(&self, origin: &Origin) -> Result<(), AccountError> {
        let (network, now) = (network_of(origin.address), Instant::now());
        if let Some(wait) = self.inner.asked.pause(&network, now) {
            return Err(AccountError::slow(wait));
        }
        self.inner.asked.failed(network, now);
        Ok(())
    }
}
