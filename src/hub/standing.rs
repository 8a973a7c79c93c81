//! How a gateway stands with the edge, and how old what is known of it is: said with each answer.

use super::fleet::Gateway;
use super::link::{LinkState, unix_ms};
use super::picture::List;
use serde::Serialize;

/// How a gateway stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    /// Whether it can be asked now.
    pub(super) connected: bool,
    /// Since when it stands so, Unix milliseconds.
    pub(super) since: Option<u64>,
    /// Its version, while it is connected.
    pub(super) version: Option<String>,
    /// The protocol that was agreed.
    pub(super) protocol: Option<u64>,
    /// When it was last heard of: what is known of it is as of then. Unix milliseconds.
    pub(super) as_of: Option<u64>,
    /// How long ago that is, in milliseconds.
    pub(super) age_ms: Option<u64>,
    /// Why it cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Trouble>,
}

/// One gateway that cannot answer, or not all of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trouble {
    /// Which.
    pub(super) gateway_id: String,
    /// A stable code.
    pub(super) code: &'static str,
    /// For people.
    pub(super) error: String,
    /// Since when, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<u64>,
}

impl Standing {
    /// As it is now.
    pub(super) fn of(gateway: &Gateway) -> Self {
        let heard = gateway.operator.as_ref().map_or(0, |operator| operator.heard_ms());
        let as_of = Some(heard).filter(|heard| *heard > 0);
        let mut standing = Self {
            connected: false,
            since: None,
            version: None,
            protocol: None,
            as_of,
            age_ms: as_of.map(|as_of| unix_ms().saturating_sub(as_of)),
            error: None,
        };
        let trouble = |code, error: &str, since| {
            let gateway_id = gateway.id.to_string();
            Some(Trouble { gateway_id, code, error: error.to_owned(), since })
        };
        match gateway.operator.as_ref().map(|operator| operator.state()) {
            None => standing.error = trouble("off", "the edge does not connect to this gateway", None),
            Some(LinkState::Connecting) => {
                standing.error = trouble("connecting", "the edge is connecting to it", None);
            }
            Some(LinkState::Here(hello)) => {
                standing.connected = true;
                standing.since = Some(hello.since_ms);
                standing.version = Some(hello.version.clone());
                standing.protocol = Some(hello.protocol);
            }
            Some(LinkState::Away(away)) => {
                standing.since = Some(away.since_ms);
                standing.error = trouble(away.why.code(), &away.why.to_string(), standing.since);
            }
        }
        standing
    }
}

/// Why a list of a gateway is not whole, if it is not: the gateway is away, or has not given the list.
pub(super) fn trouble(gateway: &Gateway, standing: &Standing, lists: &[List]) -> Option<Trouble> {
    if let Some(Trouble { gateway_id, code, error, since }) = &standing.error {
        return Some(Trouble { gateway_id: gateway_id.clone(), code, error: error.clone(), since: *since });
    }
    let operator = gateway.operator.as_ref()?;
    let missing = operator.missing();
    let refused = lists.iter().find_map(|list| missing.get(list.method()).map(|code| (list, code)));
    let (code, error) = if let Some((list, code)) = refused {
        ("list_refused", format!("the gateway does not give {}: {code}", list.method()))
    } else {
        let picture = operator.picture();
        let list = lists.iter().find(|list| !picture.has(**list))?;
        ("listing", format!("{} has not come yet", list.method()))
    };
    Some(Trouble { gateway_id: gateway.id.to_string(), code, error, since: None })
}
