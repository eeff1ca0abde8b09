//! TLS: what it takes, read anew for each connection, and what to say when it does not come about.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::error::Trouble;
use crate::wire::{Patience, Session, Wire};

/// What TLS to Redis takes. The files are read for each connection: they may be exchanged at any time.
///
/// The server's certificate is always checked, its name included. A relative path is one in `$CREDENTIALS_DIRECTORY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Files and folders with the certificates that the server's has to be signed with. None: those that the system trusts.
    pub ca: Vec<PathBuf>,
    /// Our certificate, and those between it and its CA.
    pub cert: Option<PathBuf>,
    /// The key of it.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must have, if it is not that of the address.
    pub server_name: Option<String>,
}

/// Why settings of TLS make no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrongTls {
    /// There is a certificate without a key.
    LacksKey,
    /// There is a key without a certificate.
    LacksCert,
    /// No certificate is for such a name.
    Name(String),
    /// TLS on a unix socket.
    Socket,
}

impl TlsFiles {
    /// Reads all files and says what is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        self.config().map(|_| ())
    }

    /// Says what is wrong with the settings themselves, for a connection to `host`.
    pub(super) fn suits(&self, host: &str) -> Result<(), WrongTls> {
        match (&self.cert, &self.key) {
            (Some(_), None) => return Err(WrongTls::LacksKey),
            (None, Some(_)) => return Err(WrongTls::LacksCert),
            _ => {}
        }
        self.name(host).map(|_| ())
    }

    fn name(&self, host: &str) -> Result<ServerName<'static>, WrongTls> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name).map_err(|_| WrongTls::Name(name.to_owned()))?;
        Ok(name.to_owned())
    }

    /// A connection to `host` is secured with this.
    fn session(&self, host: &str) -> Result<Session, String> {
        let name = self
            .name(host)
            .map_err(|_| format!("no certificate is for such a name as {host:?}: set the server name"))?;
        Ok(Session { config: Arc::new(self.config()?), name })
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots()?);
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (resolved(cert), resolved(key));
                config.with_client_auth_cert(certificates(&cert)?, private_key(&key)?).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(_) => {
                        format!("the key {} does not belong to the certificate {}", key.display(), cert.display())
                    }
                    other => format!(
                        "the certificate {} and the key {} cannot be used: {other}",
                        cert.display(),
                        key.display()
                    ),
                })?
            }
            _ => config.with_no_client_auth(),
        };
        // Each connection looks at the server's certificate.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if self.ca.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "this system trusts no certificate at all: install ca-certificates, or set the CA certificate"
                        .into(),
                );
            }
            return Ok(roots);
        }
        for path in &self.ca {
            let path = resolved(path);
            let found = if path.is_dir() { folder(&path)? } else { certificates(&path)? };
            let (added, _) = roots.add_parsable_certificates(found);
            if added == 0 {
                return Err(format!("the CA certificate {} cannot be used: it is not X.509", path.display()));
            }
        }
        Ok(roots)
    }

    fn trusted(&self) -> String {
        match self.ca.as_slice() {
            [] => "a CA that this system trusts".into(),
            paths => paths.iter().map(|path| resolved(path).display().to_string()).collect::<Vec<_>>().join(" or "),
        }
    }
}

/// Connects to `host`, with TLS if there are `files`.
pub(super) fn connect(
    host: &str,
    port: u16,
    files: Option<&TlsFiles>,
    patience: Patience<'_>,
) -> Result<Wire, Trouble> {
    let session = files.map(|files| files.session(host)).transpose();
    let session = session.map_err(|text| Trouble::Insecure { class: "tls-files", text })?;
    let mut wire = Wire::tcp(host, port, patience).map_err(|error| Trouble::Away { text: error.to_string() })?;
    if let (Some(session), Some(files)) = (session, files) {
        wire.secure(&session, patience).map_err(|error| explain(&error, &format!("{host}:{port}"), files))?;
    }
    Ok(wire)
}

/// Why there was no answer to the first command, if it has to do with TLS. A server that wants another certificate of us says so here:
/// for us the handshake was over before.
pub(super) fn unanswered(error: &io::Error, place: &str, files: Option<&TlsFiles>, unread: &[u8]) -> Option<Trouble> {
    let insecure = |class, text| Some(Trouble::Insecure { class, text });
    match files {
        // A reset comes before or after the reason for it.
        Some(files) if inner(error).is_some() || gone(error) => Some(explain(error, place, files)),
        // The beginning of an alert.
        None if unread.starts_with(b"\x15\x03") => insecure(
            "tls-wanted",
            format!("{place} speaks TLS and nothing else: switch TLS on, or take redis' other port"),
        ),
        None if unread.is_empty() && gone(error) => Some(Trouble::Away {
            text: format!("{error} before it answered anything; if {place} is its TLS port, switch TLS on"),
        }),
        _ => None,
    }
}

fn explain(error: &io::Error, place: &str, files: &TlsFiles) -> Trouble {
    use AlertDescription as Alert;
    use CertificateError as Cert;
    let Some(error) = inner(error) else { return without_a_word(error, place, files) };
    let (class, text) = match error {
        rustls::Error::InvalidCertificate(Cert::Expired) => ("tls-expired", expired(place, None)),
        rustls::Error::InvalidCertificate(Cert::ExpiredContext { time, not_after }) => {
            ("tls-expired", expired(place, Some(time.as_secs().saturating_sub(not_after.as_secs()))))
        }
        rustls::Error::InvalidCertificate(Cert::NotValidYet | Cert::NotValidYetContext { .. }) => {
            ("tls-not-yet", format!("the certificate of {place} is not valid yet: look at the clocks of both machines"))
        }
        // The latter: a CA of the same name with another key.
        rustls::Error::InvalidCertificate(Cert::UnknownIssuer | Cert::BadSignature) => (
            "tls-unknown-ca",
            format!(
                "the certificate of {place} is not signed by {}: set the CA certificate that it is signed with",
                files.trusted()
            ),
        ),
        rustls::Error::InvalidCertificate(Cert::NotValidForName) => ("tls-name", wrong_name(place, files, &[])),
        rustls::Error::InvalidCertificate(Cert::NotValidForNameContext { presented, .. }) => {
            ("tls-name", wrong_name(place, files, presented))
        }
        rustls::Error::InvalidCertificate(other) => {
            ("tls-certificate", format!("the certificate of {place} is not acceptable: {other}"))
        }
        rustls::Error::AlertReceived(
            alert @ (Alert::CertificateRequired
            | Alert::HandshakeFailure
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError),
        ) => ("tls-refused", refused(place, files, &format!("{alert:?}"))),
        rustls::Error::InvalidMessage(_) => ("tls-plain", no_tls(place)),
        other => ("tls-failed", format!("TLS with {place} failed: {other}")),
    };
    Trouble::Insecure { class, text }
}

/// The handshake ended, and nobody said why.
fn without_a_word(error: &io::Error, place: &str, files: &TlsFiles) -> Trouble {
    if error.kind() == ErrorKind::TimedOut {
        return Trouble::Insecure { class: "tls-plain", text: no_tls(place) };
    }
    Trouble::Insecure { class: "tls-refused", text: refused(place, files, &error.to_string()) }
}

fn no_tls(place: &str) -> String {
    format!("{place} does not answer with TLS: is it redis' TLS port? Or else redis hangs")
}

fn expired(place: &str, seconds: Option<u64>) -> String {
    let ago = match seconds {
        Some(seconds) if seconds >= 86_400 => format!(" {} days ago", seconds / 86_400),
        Some(seconds) => format!(" {} minutes ago", seconds / 60),
        None => String::new(),
    };
    format!("the certificate of {place} expired{ago}: renew it there; or this machine's clock is wrong")
}

fn wrong_name(place: &str, files: &TlsFiles, presented: &[String]) -> String {
    let wanted = files.server_name.as_deref().unwrap_or("that name");
    let has = match presented {
        [] => "names no host in its subjectAltName".to_owned(),
        names => format!("is for {}", names.join(", ")),
    };
    format!(
        "the certificate of {place} is not for {wanted}, it {has}: correct the address, set the server name, or renew the certificate with the name"
    )
}

fn refused(place: &str, files: &TlsFiles, why: &str) -> String {
    match &files.cert {
        None => format!(
            "{place} ended the TLS handshake ({why}): if it asks for a client certificate, set one; else its own log says why"
        ),
        Some(cert) => {
            format!(
                "{place} ended the TLS handshake ({why}): it may not accept the client certificate {}; its own log says why",
                resolved(cert).display()
            )
        }
    }
}

fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Where a credential of systemd's lies, if the path is relative.
fn resolved(path: &Path) -> PathBuf {
    PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY").unwrap_or_default()).join(path)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// All certificates of a file, one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{} holds no certificate in PEM form", path.display())),
        Ok(found) => Ok(found),
        // What the reader says may repeat bytes of a file that is another one.
        Err(_) => Err(format!("{} is not PEM", path.display())),
    }
}

/// All certificates of all files of a folder, one at least. Files that hold none are passed over.
fn folder(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let entries = std::fs::read_dir(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .filter_map(|path| certificates(&path).ok())
        .flatten()
        .collect();
    // Such folders hold each certificate under several names.
    found.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    found.dedup();
    if found.is_empty() {
        Err(format!("no file in {} holds a certificate in PEM form", path.display()))
    } else {
        Ok(found)
    }
}

/// The key. What is wrong with it is said without any of its bytes.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if text.windows(9).any(|word| word == b"ENCRYPTED") => {
            Err(format!("the key {} is encrypted: take its passphrase off and its permissions down", path.display()))
        }
        Err(pem::Error::NoItemsFound) => Err(format!("{} holds no private key in PEM form", path.display())),
        Err(_) => Err(format!("{} is not PEM", path.display())),
    }
}
