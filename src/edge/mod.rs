//! Pingora's shell: sockets, clocks and the way of a request from head to log line. The only room that
//! knows Pingora; what is decided here was decided by [`admission`](crate::admission).
//!
//! The way: [`entrance`] knows what is spoken where and shakes hands over [`tls`], [`door`] lets a connection in, [`front`] reads the
//! head (and after a refusal [`early`] decides on the next) or [`streams`] takes it from a stream of HTTP/2,
//! [`proxy`] walks it through admission, [`body`] holds what must be
//! verified, [`upstream`] and [`headers`] send it on, or [`tunnel`] relays a WebSocket ([`multiplex`]
//! the one that leads to many gateways), or [`folder`] sends a file and [`console`] the page for operators, or
//! [`sessions`] begin and end, [`respond`]
//! answers refusals, [`observe`] tells what happened. [`federation`] is the border to other meshes, with the
//! [`outbox`] of what waits for them; [`sign`] signs what goes on.

mod abuse;
mod access_log;
pub mod admin;
mod body;
mod bounded;
mod console;
pub mod cooldowns;
mod cross_site;
mod door;
mod early;
mod entrance;
mod exchange;
pub mod explain;
mod federation;
mod fetch;
mod folder;
mod front;
mod gate;
mod headers;
pub mod insight;
mod key_feeds;
mod key_set_feed;
mod ledger;
mod limits;
mod line;
pub mod live;
mod manager;
mod multiplex;
mod observe;
mod outbox;
mod outbox_journal;
mod outbox_post;
mod outbox_queue;
pub mod outbox_socket;
mod proxy;
pub mod quotas;
mod registry_feed;
mod relay;
pub mod reload;
mod replay;
mod replay_log;
mod respond;
mod screen;
pub mod server;
mod sessions;
mod shared;
mod sign;
mod signers;
mod streams;
mod tls;
mod token_feeds;
mod tunnel;
mod upstream;
mod verify;
mod vigil;

pub use access_log::AccessLog;
pub use ledger::Ledger;
pub use live::{Live, Site};
pub use outbox::Outbox;
pub use replay::{Claim, Replay, Standing};
pub use sessions::Departures;
pub use shared::{Seen as SharedSeen, Shared, examine as shared_examine};
