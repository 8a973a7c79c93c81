//! The test house: starts the real programs on free ports, stands in for the services around them, and
//! looks at every answer before a test does.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod codes;
pub(crate) mod double;
pub(crate) mod doubles;
pub(crate) mod edge;
pub(crate) mod events;
pub(crate) mod gateway;
pub(crate) mod inside;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod loud;
pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod parts;
pub(crate) mod pki;
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod site;
pub(crate) mod sockets;
pub(crate) mod store;
pub(crate) mod temp;
pub(crate) mod tls;
pub(crate) mod wait;
