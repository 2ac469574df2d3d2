//! TLS, by rustls on ring. The provider is handed over explicitly: a process-wide default could be
//! somebody else's.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use store::Error;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Options, SslMode};

/// What makes the TLS part of each connection.
pub(crate) type Connector = MakeRustlsConnect;

/// The connector that `options` asks for.
pub(crate) fn connector(options: &Options) -> Result<Connector, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Fatal(format!("TLS can't be set up: {error}")))?;
    let config = if options.sslmode == SslMode::VerifyFull {
        let roots = match &options.ca_file {
            Some(path) => from_file(path)?,
            None => from_machine()?,
        };
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let anybody = Arc::new(Anybody(provider));
        builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
    };
    Ok(MakeRustlsConnect::new(config))
}

fn from_file(path: &Path) -> Result<RootCertStore, Error> {
    let shown = path.display();
    let unusable = |reason: &dyn std::fmt::Display| {
        Error::Fatal(format!("ca_file: {shown}: {reason}; name a PEM file of certificates"))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unusable(&e))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"holds no certificate"));
    }
    Ok(roots)
}

fn from_machine() -> Result<RootCertStore, Error> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some that a machine trusts are too old for rustls; it is the others that count.
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    if added == 0 {
        return Err(Error::Fatal(
            "sslmode: verify-full needs authorities, and this machine names none; set ca_file"
                .into(),
        ));
    }
    Ok(roots)
}

/// Takes every certificate. For [`SslMode::Prefer`] and [`SslMode::Require`], which promise no more
/// than that nobody can listen.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // Whoever answers must at least have the key of the certificate shown: channel binding, which
    // a password's exchange may use, rests on that.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
