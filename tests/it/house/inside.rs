//! The store within the test: the library behind its own HTTP, with a clock that the test sets.

use super::store::SECRET;
use super::temp::Temp;
use openclaw_edge::ids::TenantId;
use openclaw_edge::secret::Secret;
use openclaw_edge::store::{
    Access, Clock, Listener, Settings, Store, Trust, Unobserved, Upkeep, Usage, serve,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// A store that is served until it is dropped.
#[derive(Debug)]
pub(crate) struct Inside {
    runtime: Runtime,
    store: Arc<Store>,
    address: SocketAddr,
    clock: Arc<AtomicI64>,
    _folder: Temp,
}

impl Inside {
    /// Over a file.
    pub(crate) fn start(time: i64, adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::over(None, time, adjust)
    }

    /// Over the PostgreSQL database of this URL.
    pub(crate) fn start_at(url: String, time: i64, adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::over(Some(url), time, adjust)
    }

    fn over(url: Option<String>, time: i64, adjust: impl FnOnce(&mut Settings)) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (folder, clock) = (Temp::new(), Arc::new(AtomicI64::new(time)));
        let tenant = TenantId::parse("default").expect("a name");
        let mut settings = Settings::new(folder.path().join("mesh.db"), tenant);
        settings.clock = Clock::Set(Arc::clone(&clock));
        adjust(&mut settings);
        let store = match url {
            None => Store::open(&settings, Arc::new(Unobserved)),
            Some(url) => {
                let url = Secret::new(url.into_bytes());
                runtime.block_on(Store::connect(&url, 4, &settings, Arc::new(Unobserved)))
            }
        };
        let store = Arc::new(store.expect("the database opens"));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let trust = Trust::SharedSecret(Secret::new(SECRET.as_bytes().to_vec()));
        let serving = serve(Listener::Tcp(listener), Arc::clone(&store), trust, std::future::pending());
        runtime.spawn(serving);
        Self { runtime, store, address, clock, _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets its clock, in Unix seconds.
    pub(crate) fn set_time(&self, seconds: i64) {
        self.clock.store(seconds, Ordering::Relaxed);
    }

    /// Sweeps a tenant, as the store does now and then.
    pub(crate) fn sweep(&self, access: &Access, feed_from: i64, most: u32) {
        let upkeep = Upkeep { feed_from, most, ..self.store.upkeep() };
        self.runtime.block_on(self.store.sweep(access, upkeep)).expect("the sweep is done");
    }

    /// What a tenant keeps.
    pub(crate) fn usage(&self, access: &Access) -> Usage {
        self.runtime.block_on(self.store.usage(access)).expect("the counts are read")
    }
}
