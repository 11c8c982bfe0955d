//! TLS in front of a server without TLS.

use super::Certificates;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is said before TLS begins.
#[derive(Clone, Copy, Debug)]
pub enum Opening {
    Nothing,
    /// The client requests TLS, and gets permission to begin.
    Postgres,
    /// The server greets and offers TLS, the client asks for it.
    Mysql,
}

/// Protocol 10 with all that a MariaDB offers, TLS among it.
const GREETING: &[u8] =
    b"\x0a10.11.6-MariaDB\0\x01\0\0\x0012345678\0\xfe\xff\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0mysql_native_password\0";

#[derive(Debug)]
pub struct Secure {
    pub port: u16,
    /// Ends it when dropped.
    _ending: tokio::sync::oneshot::Sender<()>,
}

impl Secure {
    /// Shows the certificate `server` and hands what comes on to this port.
    pub fn before(port: u16, certificates: &Certificates) -> Self {
        Self::after(Opening::Nothing, port, certificates)
    }

    /// As `before`, once the two have agreed on it as this protocol does.
    pub fn after(opening: Opening, port: u16, certificates: &Certificates) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", super::free_port())).expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        let own = listener.local_addr().expect("address").port();
        let acceptor = TlsAcceptor::from(Arc::new(config(certificates)));
        let (ending, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("listener");
                let serving = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(carry(opening, acceptor.clone(), stream, port));
                    }
                };
                tokio::select! {
                    () = serving => {}
                    _ = ended => {}
                }
            });
        });
        Self { port: own, _ending: ending }
    }
}

fn config(certificates: &Certificates) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(certificates.pem("server")).expect("read the certificate").flatten().collect();
    let key = PrivateKeyDer::from_pem_file(certificates.key("server")).expect("read the key");
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let mut config = builder.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn agree(opening: Opening, stream: &mut TcpStream) -> std::io::Result<()> {
    match opening {
        Opening::Nothing => {}
        Opening::Postgres => {
            stream.read_exact(&mut [0; 8]).await?;
            stream.write_all(b"S").await?;
        }
        Opening::Mysql => {
            let length = u8::try_from(GREETING.len()).expect("a short greeting");
            stream.write_all(&[&[length, 0, 0, 0], GREETING].concat()).await?;
            stream.read_exact(&mut [0; 36]).await?;
        }
    }
    Ok(())
}

async fn carry(opening: Opening, acceptor: TlsAcceptor, mut stream: TcpStream, port: u16) {
    drop(stream.set_nodelay(true));
    if agree(opening, &mut stream).await.is_err() {
        return;
    }
    // Who hangs up half-way is what is tested.
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    drop(server.set_nodelay(true));
    drop(tokio::io::copy_bidirectional(&mut stream, &mut server).await);
}
