//! A wire that a test can cut: between an edge and its peer, at an address that stays the same whoever is behind.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Where connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nowhere: they are closed at once.
    Cut,
    /// To this address and back.
    Through(SocketAddr),
    /// To this address; the answer is waited for, and lost.
    AnswersLost(SocketAddr),
}

/// The wire.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    way: Way,
    open: Vec<TcpStream>,
    lost: usize,
}

impl Relay {
    /// A wire that is cut.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State { way: Way::Cut, open: Vec::new(), lost: 0 }));
        let kept = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&kept);
                std::thread::spawn(move || relay(&stream, &state));
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Turns it, and closes what is open.
    pub(crate) fn turn(&self, way: Way) {
        let mut state = self.state.lock().expect("no thread panics");
        state.way = way;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> usize {
        self.state.lock().expect("no thread panics").lost
    }
}

fn relay(client: &TcpStream, state: &Mutex<State>) {
    let way = state.lock().expect("no thread panics").way;
    let (Way::Through(to) | Way::AnswersLost(to)) = way else { return };
    let Ok(server) = TcpStream::connect(to) else { return };
    let copies = [client, &server].map(|stream| stream.try_clone().expect("a socket can be shared"));
    state.lock().expect("no thread panics").open.extend(copies);
    std::thread::scope(|scope| {
        scope.spawn(|| pass(client, &server));
        if way == Way::Through(to) {
            pass(&server, client);
        } else {
            // The answer's first bytes: the peer has done what it was asked.
            if (&server).read(&mut [0; 64]).is_ok_and(|read| read > 0) {
                state.lock().expect("no thread panics").lost += 1;
            }
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
