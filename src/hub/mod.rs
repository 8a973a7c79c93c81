//! Mission Control: one read-only API over all gateways of the caller's tenant. Reached by the edge alone,
//! over a Unix socket that only this process's user can open; it believes the tenant from the edge.

pub mod api;
pub mod fleet;

pub use api::serve;
pub use fleet::Fleet;
