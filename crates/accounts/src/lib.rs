//! People: accounts, how they sign in, and what they may have.
//!
//! Who somebody is, is decided here and nowhere else; what they may touch follows from
//! [`SignedIn`]. Instances are the engine's; an account only has its name on them.

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
use tokio::sync::Notify;

pub use error::AccountError;
pub use links::FreshLink;
pub use manage::AccountInfo;
pub use passkeys::Ceremony;
pub use sessions::{FreshSession, SESSION_LIFETIME, SignedIn};
pub use settings::{AccountSettings, MailSettings, SignUp};
pub use startclaw_store::{AccountSession, Link, LinkKind, Passkey, Usage};
pub use throttle::{Throttle, network_of};

/// Failed sign-ins from one network, and their window: a family or an office may mistype often.
const BY_NETWORK: (u32, Duration) = (20, Duration::from_secs(300));
/// Failed sign-ins to one account from devices that never signed in to it.
const BY_STRANGERS: (u32, Duration) = (10, Duration::from_secs(900));
/// Failed sign-ins to one account from one device that signed in to it before.
const BY_DEVICE: (u32, Duration) = (10, Duration::from_secs(900));
/// Sign-ins with a passkey begun from one network, and their window. One is begun at each load of
/// the sign-in page.
const CEREMONIES: (u32, Duration) = (100, Duration::from_secs(300));
/// Accounts made, and links asked for, from one network.
const REQUESTS: (u32, Duration) = (10, Duration::from_secs(3600));

/// Where a request comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// What the browser says it is.
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
    /// Where the portal is, such as `https://example.com`.
    site: String,
    hasher: password::Hasher,
    mailer: Option<mail::Mailer>,
    passkeys: passkeys::Passkeys,
    by_network: Throttle<IpAddr>,
    by_strangers: Throttle<String>,
    by_device: Throttle<String>,
    asked: Throttle<IpAddr>,
    ceremonies: Throttle<IpAddr>,
    /// Somebody leaves.
    deletion_requested: Notify,
}

impl Accounts {
    /// Puts it together. `site` is where the portal is, such as `https://example.com:8443`.
    ///
    /// # Errors
    /// What is wrong with the settings, in words.
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
                ceremonies: Throttle::new(CEREMONIES.0, CEREMONIES.1),
                deletion_requested: Notify::new(),
            }),
        })
    }

    /// What the operator set.
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

    /// Counts something that costs us or others, and refuses it when it was asked too often.
    fn count_request(&self, origin: &Origin) -> Result<(), AccountError> {
        let (network, now) = (network_of(origin.address), Instant::now());
        if let Some(wait) = self.inner.asked.pause(&network, now) {
            return Err(AccountError::slow(wait));
        }
        self.inner.asked.failed(network, now);
        Ok(())
    }
}
