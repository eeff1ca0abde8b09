//! Certificates of a test's own: an authority, and what it signs.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::child::Scene;

/// Names and addresses of this machine.
pub const HERE: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// Signs certificates.
pub struct Authority {
    scene: Scene,
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.name)
    }
}

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// One of this name.
    pub fn new(scene: &Scene, name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("a certificate");
        scene.write(&format!("{name}.crt"), issuer.pem());
        Self { scene: scene.clone(), name: name.to_owned(), issuer }
    }

    /// The file of its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.scene.file(&format!("{}.crt", self.name))
    }

    /// Signs a certificate for these names, in files of this name. What was there is replaced, each file at once.
    pub fn issue(&self, file: &str, names: &[&str]) -> Pair {
        self.sign(file, &params(file, names))
    }

    /// The same, and it has expired.
    pub fn issue_expired(&self, file: &str, names: &[&str]) -> Pair {
        let mut params = params(file, names);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(file, &params)
    }

    fn sign(&self, file: &str, params: &CertificateParams) -> Pair {
        let key = key();
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { cert: self.put(file, "crt", &cert.pem()), key: self.put(file, "key", &key.serialize_pem()) }
    }

    fn put(&self, file: &str, kind: &str, text: &str) -> PathBuf {
        let fresh = self.scene.write(&format!("{file}.{kind}.new"), text);
        let path = self.scene.file(&format!("{file}.{kind}"));
        fs::rename(fresh, &path).expect("it can be renamed");
        path
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    if !params.subject_alt_names.is_empty() {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    }
    params
}
