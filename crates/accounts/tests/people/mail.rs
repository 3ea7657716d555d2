//! Mail, to a server that speaks SMTP.

use std::sync::{Arc, Mutex};

use startclaw_accounts::{AccountError, LinkKind, SignUp};
use startclaw_model::Secret;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::house::{House, home, request, until};

/// A mail server that keeps what it takes.
#[derive(Clone)]
struct Server {
    address: String,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("smtp+plain://{}", listener.local_addr().unwrap());
        let server = Self { address, taken: Arc::default() };
        let taken = server.taken.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, taken.clone()));
            }
        });
        server
    }

    fn letters(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }

    /// The value of the link to `what` in the newest letter to somebody, once it is there.
    async fn link(&self, to: &str, what: &str) -> String {
        let mark = format!("https://claws.test/{what}/");
        let find = || {
            let all = self.letters();
            let letter = all.iter().rev().find(|l| l.contains(&format!("RCPT TO:<{to}>")))?;
            Some(letter.split(&mark).nth(1)?[..43].to_owned())
        };
        until("the mail is there", async || find().is_some()).await;
        find().unwrap()
    }
}

/// One conversation: enough of RFC 5321 to take a letter.
async fn talk(stream: TcpStream, taken: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.test\r\n").await.ok()?;
    let mut letter = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let answer = match line.split([' ', ':', '\r']).next().unwrap_or_default() {
            "EHLO" => "250 mail.test\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                while !letter.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut letter).await.ok()?;
                }
                taken.lock().unwrap().push(std::mem::take(&mut letter));
                "250 taken\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => {
                letter.push_str(&line);
                "250 good\r\n"
            }
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn house(server: &str) -> House {
    let mut house = House::new(SignUp::Open).await;
    house.settings.mail.server = server.to_owned();
    house.settings.mail.from = "StartClaw <claws@claws.test>".to_owned();
    house
}

#[tokio::test]
async fn an_address_is_confirmed_by_mail_and_only_then_gets_what_is_made_for_it() {
    let server = Server::start().await;
    let life = house(&server.address).await.start().await;
    let alice = life.sign_up("alice@example.com", None).await.unwrap();
    assert!(alice.account.confirmed_at.is_none());
    let token = server.link("alice@example.com", "confirm").await;
    let letter = server.letters().remove(0);
    assert!(letter.contains("From: ") && letter.contains("Subject: Confirm your address"));

    let theirs = async |name: &str| {
        let asked = request(name, "alice@example.com");
        life.engine.provision(&crate::house::admin(), asked, None).await.unwrap();
        life.engine.status(&crate::house::name(name)).await.unwrap().account.is_some()
    };
    assert!(!theirs("before").await);
    assert!(life.accounts.is_good(&token, LinkKind::Confirm).await.unwrap());
    life.accounts.confirm(&token).await.unwrap();
    assert!(theirs("after").await);
    assert!(matches!(life.accounts.confirm(&token).await, Err(AccountError::DeadLink)));
}

#[tokio::test]
async fn a_forgotten_password_is_set_by_a_mail_that_only_the_owner_gets() {
    let server = Server::start().await;
    let life = house(&server.address).await.start().await;
    life.person("alice@example.com").await;
    life.accounts.ask_password_link("nobody@example.com", &home()).await.unwrap();
    life.accounts.ask_password_link("alice@example.com", &home()).await.unwrap();
    let token = server.link("alice@example.com", "reset").await;
    assert_eq!(server.letters().len(), 1, "nobody gets no mail");
    let new = Secret::new("quite another one");
    life.accounts.set_password_by_link(&token, &new, &home()).await.unwrap();
    life.sign_in("alice@example.com", "quite another one", None, &home()).await.unwrap();
}

#[tokio::test]
async fn a_mail_server_that_is_away_keeps_nobody_from_signing_up() {
    // Nobody listens there: it was given back just now.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let life = house(&format!("smtp+plain://{gone}")).await.start().await;
    let alice = life.sign_up("alice@example.com", None).await.unwrap();
    assert!(life.who(&alice).await.is_some());
    life.accounts.ask_password_link("alice@example.com", &home()).await.unwrap();
}
