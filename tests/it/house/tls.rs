//! Clients over TLS. Most tests speak plain HTTP into a [`Tunnel`], whose other end is TLS: so every client of the house can
//! be used over it, the one that sends raw bytes too. [`Streams`] speaks HTTP/2.

use super::client::Answer;
use super::inspect::inspect;
use super::pki::Files;
use bytes::Bytes;
use h2::client::SendRequest;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

/// Both versions.
pub(crate) const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// A client that believes these authorities.
pub(crate) fn client(
    roots: &Arc<RootCertStore>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the versions are known")
        .with_root_certificates(roots.clone())
        .with_no_client_auth()
}

/// The same, with a certificate of its own.
pub(crate) fn holder(roots: &Arc<RootCertStore>, files: &Files) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(BOTH)
        .expect("the versions are known")
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(vec![files.der.clone()], key)
        .expect("key and certificate belong together")
}

fn named(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("a name or an address")
}

/// A handshake that went well.
#[derive(Debug)]
pub(crate) struct Shaken {
    /// What the server showed.
    pub(crate) certificate: CertificateDer<'static>,
    /// What both speak.
    pub(crate) version: ProtocolVersion,
    /// The protocol that was picked.
    pub(crate) alpn: Option<Vec<u8>>,
}

/// Shakes hands and hangs up.
pub(crate) fn shake_hands(to: SocketAddr, client: &ClientConfig, name: &str) -> std::io::Result<Shaken> {
    let mut wire = TcpStream::connect(to)?;
    wire.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut client =
        ClientConnection::new(Arc::new(client.clone()), named(name)).map_err(std::io::Error::other)?;
    while client.is_handshaking() {
        client.complete_io(&mut wire)?;
    }
    let certificate = client.peer_certificates().and_then(<[_]>::first).cloned();
    Ok(Shaken {
        certificate: certificate.expect("a server shows one"),
        version: client.protocol_version().expect("both speak one"),
        alpn: client.alpn_protocol().map(<[u8]>::to_vec),
    })
}

/// Whether a server closes a connection on which nothing is said.
pub(crate) fn closes_on_silence(to: SocketAddr) -> bool {
    let mut wire = TcpStream::connect(to).expect("someone listens");
    wire.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
    matches!(wire.read(&mut [0; 1]), Ok(0))
}

/// Plain on this side, TLS on the other.
pub(crate) struct Tunnel {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Tunnel {
    /// Digs one.
    pub(crate) fn to(server: SocketAddr, client: ClientConfig, name: &str) -> Self {
        let runtime = runtime();
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (connector, name) = (TlsConnector::from(Arc::new(client)), named(name));
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (connector, name) = (connector.clone(), name.clone());
                tokio::spawn(async move {
                    let far = tokio::net::TcpStream::connect(server).await?;
                    far.set_nodelay(true)?;
                    let mut far = connector.connect(name, far).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Self { address, _runtime: runtime }
    }

    /// Its near end.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// A connection of HTTP/2.
pub(crate) struct Streams {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    over: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Streams {
    /// Opens one.
    pub(crate) fn open(to: SocketAddr, client: &ClientConfig, name: &str) -> Self {
        let runtime = runtime();
        let mut client = client.clone();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let (send, over) = runtime.block_on(async {
            let wire = tokio::net::TcpStream::connect(to).await.expect("someone listens");
            let tls =
                TlsConnector::from(Arc::new(client)).connect(named(name), wire).await.expect("a handshake");
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (send, connection) = h2::client::handshake(tls).await.expect("it speaks HTTP/2");
            (send, tokio::spawn(connection))
        });
        Self { runtime, send, over }
    }

    /// Sends a request on a stream of its own, without waiting for its answer.
    pub(crate) fn begin(&mut self, request: http::Request<()>, body: Option<Bytes>) -> Pending {
        self.runtime.block_on(async {
            let mut send = self.send.clone().ready().await?;
            let (answer, mut stream) = send.send_request(request, body.is_none())?;
            if let Some(body) = body {
                stream.send_data(body, true)?;
            }
            Ok::<_, h2::Error>((answer, stream))
        })
    }

    /// Sends a request and reads its answer.
    pub(crate) fn try_send(
        &mut self,
        request: http::Request<()>,
        body: Option<Bytes>,
    ) -> Result<Answer, h2::Error> {
        let (answer, _stream) = self.begin(request, body)?;
        self.finish(answer)
    }

    /// The same, which must go well.
    pub(crate) fn send(&mut self, request: http::Request<()>, body: Option<Bytes>) -> Answer {
        self.try_send(request, body).expect("an answer")
    }

    /// Reads an answer.
    pub(crate) fn finish(&mut self, answer: h2::client::ResponseFuture) -> Result<Answer, h2::Error> {
        let answer = self.runtime.block_on(read(answer))?;
        inspect(&answer);
        Ok(answer)
    }

    /// Sends a request that the codec itself may answer, which makes none of the edge's promises; the status.
    pub(crate) fn bare_status(&mut self, request: http::Request<()>) -> Result<u16, h2::Error> {
        let (answer, _stream) = self.begin(request, None)?;
        self.runtime.block_on(answer).map(|head| head.status().as_u16())
    }

    /// Whether the connection has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_finished()
    }

    /// Whether the server has closed the connection, or does so soon.
    pub(crate) fn is_closed(&mut self) -> bool {
        let over = &mut self.over;
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), over).await.is_ok() })
    }
}

/// A request on its way: the answer that will come, and the stream that can be taken back.
pub(crate) type Pending = Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error>;

async fn read(answer: h2::client::ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend(piece);
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Ok(Answer { status: head.status.as_u16(), fields, body })
}

/// A request over `https`.
pub(crate) fn request(method: &str, host: &str, target: &str, fields: &[(&str, &str)]) -> http::Request<()> {
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("https://{host}{target}"))
        .version(http::Version::HTTP_2);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}
