//! The whole room over real sockets: every row of the API's table, every error text, every way in.

mod entry;
mod feed;
mod keys;
mod lists;
mod openapi;
mod policy;
mod rows;
mod versions;

use super::testing::Folder;
use super::{Listener, Observe, Policy, Settings, Store, Trust, Unobserved, serve, socket};
use crate::ids::TenantId;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running store.
struct House {
    folder: Folder,
    door: Door,
    store: Arc<Store>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

enum Door {
    Unix(PathBuf),
    Tcp(std::net::SocketAddr),
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix))
    }

    #[track_caller]
    fn tag(&self) -> String {
        self.field("etag").unwrap_or_else(|| panic!("no entity tag: {}", self.head)).to_owned()
    }

    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }
}

impl House {
    async fn on_socket() -> Self {
        Self::build(Trust::Edge, Arc::new(Unobserved)).await
    }

    async fn with_policy(policy: Policy) -> Self {
        Self::start(Trust::Edge, Arc::new(Unobserved), |settings| settings.policy = policy).await
    }

    async fn build(trust: Trust, observe: Arc<dyn Observe>) -> Self {
        Self::start(trust, observe, |_| ()).await
    }

    async fn start(trust: Trust, observe: Arc<dyn Observe>, adjust: impl FnOnce(&mut Settings)) -> Self {
        let folder = Folder::new();
        let mut settings = Settings::new(folder.path("mesh.db"), TenantId::parse("default").unwrap());
        adjust(&mut settings);
        let store = Arc::new(Store::open(&settings, observe).unwrap());
        let (listener, door) = if matches!(trust, Trust::Edge) {
            let path = folder.path("store.sock");
            (Listener::Unix(socket::bind(&path).unwrap()), Door::Unix(path))
        } else {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let door = Door::Tcp(listener.local_addr().unwrap());
            (Listener::Tcp(listener), door)
        };
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, Arc::clone(&store), trust, async {
            let _ = stopped.await;
        });
        let served = tokio::spawn(async { serving.await.unwrap() });
        Self { folder, door, store, stop: Some(stop), served }
    }

    async fn raw(&self, request: &[u8]) -> Answer {
        let mut text = Vec::new();
        match &self.door {
            Door::Unix(path) => exchange(UnixStream::connect(path).await.unwrap(), request, &mut text).await,
            Door::Tcp(address) => {
                exchange(TcpStream::connect(address).await.unwrap(), request, &mut text).await;
            }
        }
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: format!("{head}\r\n"), body: body.to_owned() }
    }

    async fn with(&self, fields: &str, method: &str, path: &str, body: Option<&str>) -> Answer {
        let body = body.unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        );
        self.raw(request.as_bytes()).await
    }

    /// As the edge asks for a tenant.
    async fn ask(&self, tenant: &str, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.with(&format!("X-Tenant-Id: {tenant}\r\n"), method, path, body).await
    }

    /// As the edge asks for a tenant, with more fields.
    async fn asking(&self, tenant: &str, fields: &str, method: &str, path: &str, body: &str) -> Answer {
        self.with(&format!("X-Tenant-Id: {tenant}\r\n{fields}"), method, path, Some(body)).await
    }

    async fn get(&self, tenant: &str, path: &str) -> Answer {
        self.ask(tenant, "GET", path, None).await
    }

    async fn put(&self, tenant: &str, memory: &Value) -> Answer {
        self.ask(tenant, "PUT", "/mesh/memory", Some(&memory.to_string())).await
    }

    async fn close(mut self) -> Folder {
        let _ = self.stop.take().unwrap().send(());
        self.served.await.unwrap();
        self.folder
    }
}

async fn exchange(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    request: &[u8],
    answer: &mut Vec<u8>,
) {
    // A server that refuses a long body may hang up before it has read it all.
    let _ = stream.write_all(request).await;
    let _ = stream.read_to_end(answer).await;
}

#[track_caller]
fn refused(answer: &Answer, status: u16, words: &str) {
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (status, format!("{{\"error\":\"{words}\"}}").as_str())
    );
    answer.json();
}
