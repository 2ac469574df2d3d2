//! Certificates for a server that is reached over TLS.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::program::User;

/// The authority's certificate; the server itself does not need it.
pub(super) const CA_FILE: &str = "ca.crt";

/// Lets nobody in without TLS but through the local socket.
const ACCESS: &str = "\
local   all all                 trust
hostssl all all 127.0.0.1/32    trust
";

/// Writes an authority, a certificate it has signed for the loopback, and rules of access that ask
/// for TLS into the data folder, under the names PostgreSQL looks for.
///
/// # Errors
/// If a file can't be written.
pub(super) fn write(data: &Path, user: Option<User>) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "testbed authority");
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let certificate = server.signed_by(&key, &issuer)?;
    for (name, text) in [
        (CA_FILE, authority_certificate.pem()),
        ("server.crt", certificate.pem()),
        ("server.key", key.serialize_pem()),
        ("pg_hba.conf", ACCESS.to_owned()),
    ] {
        let path = data.join(name);
        fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
        // PostgreSQL takes no key that others can read, nor one that isn't its own.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        if let Some(user) = user {
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(())
}
