//! What an action is told of TLS, in our words and in omhiredis'.

use std::path::PathBuf;

use delivery::link::{Endpoint, TlsFiles, WrongTls};

use super::Values;
use super::read::contradict;
use super::values::wrong;

/// TLS as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// By name; an address may ask for it too.
    pub on: bool,
    /// What it takes.
    pub files: TlsFiles,
}

/// Our words and theirs.
const NAMES: [(&str, &str); 5] = [
    ("tls", "use_tls"),
    ("tls.cacert", "ca_cert_bundle"),
    ("tls.mycert", "client_cert"),
    ("tls.myprivkey", "client_key"),
    ("tls.servername", "sni"),
];

impl Tls {
    /// Reads the parameters.
    pub fn read(values: &Values, errors: &mut Vec<String>) -> Self {
        for (ours, theirs) in NAMES {
            contradict(values, ours, theirs, errors);
        }
        contradict(values, "tls.cacert", "ca_cert_dir", errors);
        let mut text = |name| values.text(given(values, name), errors);
        let path = |text: Option<String>| text.map(PathBuf::from);
        let files = TlsFiles {
            ca: path(text("tls.cacert")).into_iter().chain(path(text("ca_cert_dir"))).collect(),
            cert: path(text("tls.mycert")),
            key: path(text("tls.myprivkey")),
            server_name: text("tls.servername"),
        };
        Self { on: values.switch(given(values, "tls"), errors).unwrap_or(false), files }
    }

    /// `endpoint` with TLS, if that is wanted.
    pub fn secure(&self, endpoint: Endpoint) -> Result<Endpoint, WrongTls> {
        if self.on || endpoint.is_secure() { endpoint.with_tls(self.files.clone()) } else { Ok(endpoint) }
    }

    /// Says what is wrong with it for `endpoint`, which the parameter `server` names.
    pub fn judge(
        &self,
        values: &Values,
        endpoint: Endpoint,
        server: &str,
        remarks: &mut Vec<String>,
        errors: &mut Vec<String>,
    ) {
        if !self.on && !endpoint.is_secure() {
            let names = NAMES[1..].iter().flat_map(|(ours, theirs)| [*ours, *theirs]).chain(["ca_cert_dir"]);
            for name in names.filter(|name| values.has(name)) {
                errors.push(wrong(name, "is of no use without tls=\"on\" or a rediss:// address"));
            }
            return;
        }
        let name = |ours| given(values, ours);
        match self.secure(endpoint) {
            // They may be there, or readable, when a connection is made.
            Ok(endpoint) => remarks.extend(endpoint.check_files().err().map(|why| format!("TLS to redis: {why}"))),
            Err(WrongTls::Socket) => errors.push(wrong(name("tls"), "is not for a unix socket")),
            Err(WrongTls::LacksKey) => errors.push(wrong(name("tls.mycert"), "is of no use without tls.myprivkey")),
            Err(WrongTls::LacksCert) => errors.push(wrong(name("tls.myprivkey"), "is of no use without tls.mycert")),
            Err(WrongTls::Name(_)) if self.files.server_name.is_some() => {
                errors.push(wrong(name("tls.servername"), "is no name that a certificate could be for"));
            }
            Err(WrongTls::Name(_)) => {
                errors.push(wrong(server, "has a host that no certificate could be for; set tls.servername"));
            }
        }
    }
}

/// The name under which a parameter of ours was given.
fn given(values: &Values, ours: &'static str) -> &'static str {
    let theirs = NAMES.iter().find(|(name, _)| *name == ours).map(|(_, theirs)| *theirs);
    theirs.filter(|theirs| values.has(theirs)).unwrap_or(ours)
}
