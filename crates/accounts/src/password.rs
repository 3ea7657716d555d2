//! Passwords: argon2id, few hashes at a time, with equal timing for unknown accounts.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use startclaw_model::Secret;
use tokio::sync::Semaphore;

use crate::AccountError;

/// The shortest password, in characters.
pub(crate) const SHORTEST: usize = 10;
/// The longest password, in bytes; longer ones only cost time.
const LONGEST: usize = 256;
/// Concurrent hashes: each takes 19 MiB and about 30 ms of a core (argon2id with the crate's
/// defaults, which are OWASP's: m = 19 MiB, t = 2, p = 1).
const AT_ONCE: usize = 2;
/// Maximum number of requests that wait for it, at about 15 ms each.
const WAITING: usize = 64;

/// Hashes and verifies passwords.
#[derive(Debug, Clone)]
pub(crate) struct Hasher {
    room: Arc<Semaphore>,
    line: Arc<Semaphore>,
    /// Verified against if there is no account.
    nobody: Arc<str>,
}

impl Hasher {
    pub fn new() -> Result<Self, String> {
        let nobody = hash(&startclaw_engine::random()).map_err(|e| e.to_string())?;
        Ok(Self {
            room: Arc::new(Semaphore::new(AT_ONCE)),
            line: Arc::new(Semaphore::new(WAITING)),
            nobody: nobody.into(),
        })
    }

    /// The hash to store.
    pub async fn hash(&self, password: &Secret) -> Result<String, AccountError> {
        let password = password.clone();
        self.work(move || hash(password.expose())).await?.map_err(AccountError::inside)
    }

    /// Whether the password matches `stored`; with `None` it never does, in the same time.
    pub async fn is(&self, password: &Secret, stored: Option<&str>) -> Result<bool, AccountError> {
        let known = stored.is_some();
        let (password, stored) = (password.clone(), stored.unwrap_or(&self.nobody).to_owned());
        let same = self.work(move || verify(password.expose(), &stored)).await?;
        Ok(same && known)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let _place = self.line.try_acquire().map_err(|_| AccountError::Busy)?;
        let _room = self.room.acquire().await.map_err(AccountError::inside)?;
        tokio::task::spawn_blocking(work).await.map_err(AccountError::inside)
    }
}

/// Checks whether a password is acceptable.
pub(crate) fn check(password: &Secret) -> Result<(), AccountError> {
    let text = password.expose();
    if text.chars().count() < SHORTEST {
        return Err(AccountError::invalid(
            "password",
            format!("a password has at least {SHORTEST} characters; use a few words"),
        ));
    }
    if text.len() > LONGEST {
        return Err(AccountError::invalid("password", "a password has at most 256 bytes"));
    }
    let first = text.chars().next();
    if text.chars().all(|c| Some(c) == first) {
        return Err(AccountError::invalid("password", "a password must not repeat one character"));
    }
    if is_common(text) {
        return Err(AccountError::invalid(
            "password",
            "this is one of the first passwords that are guessed; use a few words",
        ));
    }
    Ok(())
}

/// The words that the most common passwords consist of, without digits and signs around them.
const COMMON: [&str; 36] = [
    "abc",
    "abcdef",
    "abcdefgh",
    "abcdefghij",
    "admin",
    "administrator",
    "asdf",
    "asdfgh",
    "asdfghjkl",
    "baseball",
    "changeme",
    "default",
    "dragon",
    "football",
    "iloveyou",
    "iloveu",
    "letmein",
    "login",
    "master",
    "monkey",
    "openclaw",
    "pass",
    "password",
    "passwort",
    "princess",
    "qazwsx",
    "qwert",
    "qwerty",
    "qwertyuiop",
    "qwertz",
    "secret",
    "startclaw",
    "sunshine",
    "superman",
    "trustno",
    "welcome",
];
/// More digits and signs than these around a common word are no common password.
const AROUND: usize = 6;
/// Digits in the order of a keyboard, forwards and back.
const ROWS: [&str; 2] = ["01234567890123456789", "09876543210987654321"];

/// Whether a password is among the most common ones: a common word, also twice or with digits and
/// signs around it, or digits in order. It is no measure of strength: the limits of attempts make
/// more than the first guesses take long.
fn is_common(text: &str) -> bool {
    let text = text.to_lowercase();
    if ROWS.iter().any(|row| row.contains(&text)) {
        return true;
    }
    // First the digits and signs around it: those of `p4ssw0rd2026` are letters only within.
    let word = text.trim_matches(|c: char| !c.is_alphabetic());
    if text.chars().count() - word.chars().count() > AROUND {
        return false;
    }
    let letters = |c| match c {
        '@' | '4' => 'a',
        '$' | '5' => 's',
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        other => other,
    };
    let plain: String = word.chars().map(letters).collect();
    !plain.is_empty() && COMMON.iter().any(|common| plain.replace(common, "").is_empty())
}

fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    let mut bytes = [0_u8; 16];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
    let salt = SaltString::encode_b64(&bytes)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

fn verify(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_nobody_has_one() {
        let hasher = Hasher::new().unwrap();
        let (right, wrong) = (Secret::new("correct horse"), Secret::new("battery staple"));
        let stored = hasher.hash(&right).await.unwrap();
        assert!(stored.starts_with("$argon2id$") && !stored.contains("horse"));
        assert!(hasher.is(&right, Some(&stored)).await.unwrap());
        assert!(!hasher.is(&wrong, Some(&stored)).await.unwrap());
        assert!(!hasher.is(&right, None).await.unwrap());
    }

    #[test]
    fn what_is_guessed_at_once_is_refused() {
        for bad in [
            "",
            "short",
            "aaaaaaaaaaaa",
            &"x".repeat(300),
            "password12",
            "Password123!",
            "P@ssw0rd2026",
            "passwordpassword",
            "1234567890",
            "9876543210",
            "qwertyuiop",
            "123startclaw",
        ] {
            assert!(check(&Secret::new(bad)).is_err(), "{bad}");
        }
        for good in
            ["four words in a row", "passport of dragons", "8305172946", "quite another one"]
        {
            assert!(check(&Secret::new(good)).is_ok(), "{good}");
        }
    }
}
