//! How a bucket is connected to: its address, the signature, and the certificates that are trusted.

use std::path::Path;

use opendal::{HttpTransporter, OperationContext, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;

use super::credentials::{self, AccessKey, Credentials};
use crate::{Storage, destination::Destination};

/// The address of Google's interface for S3 clients.
const GOOGLE: &str = "https://storage.googleapis.com";
/// The region of stores that have one only.
const AUTO: &str = "auto";
/// The region when none is set and the address names none.
const DEFAULT_REGION: &str = "us-east-1";

/// A connection to a bucket.
pub(super) struct Connection {
    pub operator: Operator,
    /// Whether an object can be written on the condition that it does not exist.
    pub conditional: bool,
}

impl Connection {
    /// Connects to a folder of a bucket. No request is sent yet.
    pub fn new(storage: &Storage, folder: &str) -> Result<Self, String> {
        let key = storage.credentials.as_deref().map(credentials::read).transpose()?;
        let root = |prefix: &str| format!("/{prefix}/{folder}").replace("//", "/");
        let (operator, conditional) = match (&storage.destination, key) {
            // Google takes no conditions of S3 for writes.
            (Destination::Gcs { bucket, prefix }, Some(Credentials::AccessKey(key))) => {
                let s3 = services::S3::default().bucket(bucket).root(&root(prefix));
                (s3_operator(s3, storage, Some(key), GOOGLE, AUTO)?, false)
            }
            (Destination::Gcs { bucket, prefix }, _) => {
                let gcs = services::Gcs::default().bucket(bucket).root(&root(prefix));
                (gcs_operator(gcs, storage)?, true)
            }
            (Destination::S3 { .. }, Some(Credentials::ServiceAccount)) => {
                return Err("backup.credentials holds a key of Google, for a gs:// bucket".into());
            }
            (Destination::S3 { bucket, prefix }, key) => {
                let key = key.and_then(|key| match key {
                    Credentials::AccessKey(key) => Some(key),
                    Credentials::ServiceAccount => None,
                });
                if storage.virtual_hosted_style && bucket.contains('.') {
                    return Err("backup.virtual_hosted_style: the name of the bucket contains a \
                                dot, which works in path style only"
                        .into());
                }
                let s3 = services::S3::default().bucket(bucket).root(&root(prefix));
                let region = region_of(storage.endpoint.as_deref().unwrap_or_default());
                (s3_operator(s3, storage, key, "", region)?, true)
            }
            (Destination::Folder(_), _) => return Err("a folder is no bucket".into()),
        };
        let operator = match &storage.ca {
            Some(ca) => {
                let context = OperationContext::new().with_http_transport(trusting(ca)?);
                operator.with_context(context)
            }
            None => operator,
        };
        Ok(Self { operator, conditional })
    }
}

fn gcs_operator(mut gcs: services::Gcs, storage: &Storage) -> Result<Operator, String> {
    if let Some(endpoint) = &storage.endpoint {
        gcs = gcs.endpoint(endpoint);
    }
    if let Some(path) = &storage.credentials {
        gcs = gcs.credential_path(&path.to_string_lossy()).disable_vm_metadata();
    } else if storage.endpoint.is_some() {
        // Only emulators serve Google's protocol at another address, and they need no
        // credentials.
        gcs = gcs.skip_signature().disable_vm_metadata().disable_config_load();
    }
    Operator::new(gcs).map_err(|e| e.to_string())
}

fn s3_operator(
    mut s3: services::S3,
    storage: &Storage,
    key: Option<AccessKey>,
    default_endpoint: &str,
    default_region: &str,
) -> Result<Operator, String> {
    // Buckets with object lock refuse what has no checksum. All stores know this one, which is a
    // header; not all know the newer ones, or trailers.
    s3 = s3.checksum_algorithm("md5");
    s3 = s3.region(storage.region.as_deref().unwrap_or(default_region));
    // Ignored when it is empty.
    s3 = s3.endpoint(storage.endpoint.as_deref().unwrap_or(default_endpoint));
    if storage.virtual_hosted_style {
        s3 = s3.enable_virtual_host_style();
    }
    if let Some(AccessKey { id, secret, token }) = key {
        s3 = s3.access_key_id(&id).secret_access_key(&secret);
        s3 = s3.session_token(token.as_deref().unwrap_or_default());
        s3 = s3.disable_config_load().disable_ec2_metadata();
    }
    Operator::new(s3).map_err(|e| e.to_string())
}

/// The region that the address of a known provider names.
fn region_of(endpoint: &str) -> &str {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    if host.ends_with(".r2.cloudflarestorage.com") {
        return AUTO;
    }
    let known = [".backblazeb2.com", ".wasabisys.com", ".amazonaws.com", ".scw.cloud"];
    let name = known.iter().find_map(|end| host.strip_suffix(end));
    let region = name.and_then(|name| name.rsplit_once("s3.")).map(|(_, region)| region);
    region.filter(|region| region.contains('-')).unwrap_or(DEFAULT_REGION)
}

/// A client that also trusts the certificate authorities in this file.
fn trusting(ca: &Path) -> Result<HttpTransporter, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("backup.ca: cannot use {}: {e}", ca.display());
    let pem = std::fs::read(ca).map_err(|e| wrong(&e))?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(&e))?;
    if roots.is_empty() {
        return Err(wrong(&"it holds no certificate in PEM format"));
    }
    let client = reqwest::Client::builder().tls_certs_merge(roots).build();
    Ok(HttpTransporter::new(ReqwestTransport::new(client.map_err(|e| wrong(&e))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_follows_from_the_address_of_a_known_provider_only() {
        for (endpoint, region) in [
            ("https://s3.us-west-004.backblazeb2.com", "us-west-004"),
            ("s3.eu-central-1.wasabisys.com", "eu-central-1"),
            ("https://s3.wasabisys.com/", "us-east-1"),
            ("https://0123abcd.r2.cloudflarestorage.com", "auto"),
            ("https://0123abcd.eu.r2.cloudflarestorage.com", "auto"),
            ("https://s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("https://bucket.s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("https://s3.fr-par.scw.cloud", "fr-par"),
            ("https://s3.storage.example.com:9000", "us-east-1"),
            ("http://127.0.0.1:9000", "us-east-1"),
            ("", "us-east-1"),
        ] {
            assert_eq!(region_of(endpoint), region, "{endpoint}");
        }
    }
}
