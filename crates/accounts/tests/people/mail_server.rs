//! An SMTP server for tests: enough of RFC 5321 to accept mail, with or without TLS.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use startclaw_testkit::until;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// The transport of a server.
#[derive(Clone)]
pub enum Way {
    /// Unencrypted.
    Plain,
    /// Unencrypted, where the client requires STARTTLS.
    NoTls,
    /// STARTTLS.
    StartTls(TlsAcceptor),
    /// TLS from the start.
    Tls(TlsAcceptor),
}

/// A mail server that stores the mail it accepts.
#[derive(Clone)]
pub struct Server {
    pub address: String,
    taken: Arc<Mutex<Vec<String>>>,
    heard: Arc<Mutex<String>>,
    ended: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = match way {
            Way::Plain => "smtp+plain",
            Way::NoTls | Way::StartTls(_) => "smtp",
            Way::Tls(_) => "smtps",
        };
        let address = format!("{scheme}://localhost:{port}");
        let server =
            Self { address, taken: Arc::default(), heard: Arc::default(), ended: Arc::default() };
        let clone = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, way) = (clone.clone(), way.clone());
                tokio::spawn(async move {
                    server.serve(stream, way).await;
                    server.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    pub fn letters(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }

    /// Everything it received unencrypted or decrypted.
    pub fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }

    /// Number of closed connections.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    /// The token of the `what` link in the newest mail to an address, once it has arrived.
    pub async fn link(&self, to: &str, what: &str) -> String {
        let mark = format!("https://claws.test/{what}/");
        let find = || {
            let all = self.letters();
            let letter = all.iter().rev().find(|l| l.contains(&format!("RCPT TO:<{to}>")))?;
            Some(letter.split(&mark).nth(1)?[..43].to_owned())
        };
        until("the mail is there", async || find().is_some()).await;
        find().unwrap()
    }

    async fn serve(&self, mut stream: TcpStream, way: Way) -> Option<()> {
        const GREETING: &[u8] = b"220 mail.test\r\n";
        match way {
            Way::Plain | Way::NoTls => {
                stream.write_all(GREETING).await.ok()?;
                self.talk(stream, "250 mail.test\r\n").await;
            }
            Way::StartTls(tls) => {
                stream.write_all(GREETING).await.ok()?;
                let stream = self.talk(stream, "250-mail.test\r\n250 STARTTLS\r\n").await?;
                let stream = tls.accept(stream).await.ok()?;
                self.talk(stream, "250-mail.test\r\n250 AUTH PLAIN\r\n").await;
            }
            Way::Tls(tls) => {
                let mut stream = tls.accept(stream).await.ok()?;
                stream.write_all(GREETING).await.ok()?;
                self.talk(stream, "250-mail.test\r\n250 AUTH PLAIN\r\n").await;
            }
        }
        Some(())
    }

    /// One session, until it ends or until STARTTLS: then returns the connection.
    async fn talk<S>(&self, stream: S, hello: &str) -> Option<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = BufReader::new(stream);
        let mut letter = String::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            self.heard.lock().unwrap().push_str(&line);
            let answer = match line.split([' ', ':', '\r']).next().unwrap_or_default() {
                "EHLO" => hello,
                "STARTTLS" => {
                    stream.write_all(b"220 go on\r\n").await.ok()?;
                    return Some(stream.into_inner());
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await.ok()?;
                    while !letter.ends_with("\r\n.\r\n") {
                        stream.read_line(&mut letter).await.ok()?;
                    }
                    self.taken.lock().unwrap().push(std::mem::take(&mut letter));
                    "250 taken\r\n"
                }
                "QUIT" => "221 bye\r\n",
                "AUTH" => {
                    letter.push_str(&line);
                    "235 welcome\r\n"
                }
                _ => {
                    letter.push_str(&line);
                    "250 good\r\n"
                }
            };
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }
}

/// A self-signed certificate for `localhost`, with its key, in a folder.
pub struct Certificate(PathBuf);

impl Certificate {
    pub fn make(folder: &Path) -> Self {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "key.pem"])
            .args(["-addext", "subjectAltName=DNS:localhost", "-out", "certificate.pem"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::of(folder)
    }

    pub fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.file()).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.0.join("key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
