//! TLS to the servers, when this build has it (feature `tls`).
//!
//! rustls with the cryptography of graviola, which is Rust and needs no C compiler. The server's
//! certificate is always verified: by the authorities that the system trusts, or by those in a file.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::redis::TlsCertificates;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream as Rustls,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject},
    },
};

/// What the client of Redis needs; `authority` names a PEM file.
///
/// # Errors
/// When that cannot be read, or has no certificate in it.
pub(super) fn for_redis(authority: Option<&str>) -> Result<TlsCertificates, String> {
    // It builds its configuration itself, with the cryptography that the process has chosen. That it was
    // chosen before is no error.
    let _ = rustls_graviola::default_provider().install_default();
    if let Some(file) = authority {
        certificates(file.as_ref())?;
    }
    let read = authority.map(std::fs::read).transpose();
    Ok(TlsCertificates { client_tls: None, root_cert: read.map_err(|error| error.to_string())? })
}

/// What the client of PostgreSQL needs; `authority` names a PEM file.
///
/// # Errors
/// When that cannot be read, or has no certificate in it; or the system has no authorities.
pub(super) fn for_postgres(authority: Option<&str>) -> Result<ForPostgres, String> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(file) => {
            for certificate in certificates(file.as_ref())? {
                let added = roots.add(certificate);
                added.map_err(|error| format!("{file}: {error}"))?;
            }
        }
        None => {
            // Those that cannot be read are left out, as everybody does.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(ForPostgres(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(format!("no certificate in {}", file.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Wraps connections to PostgreSQL.
#[derive(Clone)]
pub(super) struct ForPostgres(Arc<ClientConfig>);

impl MakeTlsConnect<Socket> for ForPostgres {
    type Stream = Wrapped;
    type TlsConnect = Connect;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connect, InvalidDnsNameError> {
        let name = ServerName::try_from(host.to_string())?;
        Ok(Connect(self.0.clone().into(), name))
    }
}

pub(super) struct Connect(TlsConnector, ServerName<'static>);

impl TlsConnect<Socket> for Connect {
    type Stream = Wrapped;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Wrapped>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move { self.0.connect(self.1, stream).await.map(Wrapped) })
    }
}

/// A connection in TLS.
pub(super) struct Wrapped(Rustls<Socket>);

impl TlsStream for Wrapped {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Wrapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
