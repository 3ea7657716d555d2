//! A TLS handshake with our own Caddy: to obtain a certificate before the first visitor needs it,
//! and to check the one that is served.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{EdgeError, EdgeSettings, Tls};

/// How long to wait for a certificate. A public authority issues one within seconds; a longer wait
/// does not help.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes Caddy obtain the certificate of `host`, if it does not have it yet, by connecting as a
/// visitor would. Returns when Caddy serves one.
///
/// # Errors
/// [`EdgeError::Handshake`] if there is none after a minute, or if Caddy may not get one.
pub async fn fetch_certificate(settings: &EdgeSettings, host: &str) -> Result<(), EdgeError> {
    shake(settings.local(settings.https_port), host, Arc::new(AnyCertificate), PATIENCE)
        .await
        .map_err(|reason| EdgeError::Handshake { host: host.to_owned(), reason })
}

/// Checks that the certificate served for `host` is valid now and in `ahead` from now.
pub(crate) async fn check_certificate(
    settings: &EdgeSettings,
    host: &str,
    ahead: Duration,
) -> Result<(), String> {
    let inner = WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots(settings)?),
        Arc::new(aws_lc_rs::default_provider()),
    )
    .build()
    .map_err(|e| format!("no root certificates to verify with: {e}"))?;
    let verifier = Arc::new(Ahead { inner, ahead });
    shake(settings.local(settings.https_port), host, verifier, Duration::from_secs(20)).await
}

fn roots(settings: &EdgeSettings) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if settings.tls == Tls::Internal {
        add_file(&mut roots, &settings.internal_root())?;
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        // Certificates of a private authority are verified against its own root.
        if !settings.acme.trusted_root.as_os_str().is_empty() {
            add_file(&mut roots, &settings.acme.trusted_root)?;
        }
    }
    Ok(roots)
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let unreadable = |e| format!("{} cannot be read: {e}", path.display());
    for cert in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots.add(cert.map_err(unreadable)?).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

async fn shake(
    address: SocketAddr,
    host: &str,
    verifier: Arc<dyn ServerCertVerifier>,
    patience: Duration,
) -> Result<(), String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let attempt = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|e| format!("nothing answers at {address}: {e}"))?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())
    };
    match tokio::time::timeout(patience, attempt).await {
        Ok(done) => done.map(drop),
        Err(_) => Err(format!("no answer within {} seconds", patience.as_secs())),
    }
}

/// Verifies a certificate as a browser would, both now and some time from now.
#[derive(Debug)]
struct Ahead {
    inner: Arc<WebPkiServerVerifier>,
    ahead: Duration,
}

impl ServerCertVerifier for Ahead {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let check = |at| {
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
        };
        check(now)?;
        check(UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + self.ahead)).map_err(
            |e| match e {
                Error::InvalidCertificate(CertificateError::Expired)
                | Error::InvalidCertificate(CertificateError::ExpiredContext { .. }) => {
                    Error::General("it expires soon and was not renewed".to_owned())
                }
                other => other,
            },
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Accepts any certificate: for a connection to our own host that carries no data.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}
