//! Answers of today in the shapes that existing dashboards read. Members are moved and added; what is in
//! them is not looked at further than it must be.
//!
//! Whatever does not look as expected goes on as it came: a shape is a courtesy, not a check.

use crate::openclaw::names::Shape;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::fmt;

/// The answer in its shape. `health` is what the gateway says to that call, where it was asked beside.
pub(super) fn shaped(shape: Shape, payload: Box<RawValue>, health: Option<&RawValue>) -> Box<RawValue> {
    let made = match shape {
        Shape::Today => None,
        Shape::Agents => agents(&payload),
        Shape::Channels => channels(&payload),
        Shape::Sessions => sessions(&payload),
        Shape::Status => status(&payload, health),
    };
    made.unwrap_or(payload)
}

/// An object's members in their order.
#[derive(Default)]
struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Members<'a> {
    fn read(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Sets a member in its place, or at the end.
    fn set(&mut self, name: &'static str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, place)) => *place = Cow::Owned(value),
            None => self.0.push((Cow::Borrowed(name), Cow::Owned(value))),
        }
    }

    /// Adds a member that is not there.
    fn add(&mut self, name: &'static str, value: Option<Box<RawValue>>) {
        if let Some(value) = value.filter(|_| self.get(name).is_none()) {
            self.0.push((Cow::Borrowed(name), Cow::Owned(value)));
        }
    }

    /// The first of these members that is a text with something in it.
    fn text(&self, names: &[&str]) -> Option<Box<RawValue>> {
        let texts = names.iter().filter_map(|name| self.get(name));
        let mut texts = texts.filter(|raw| raw.get().starts_with('"') && raw.get().len() > 2);
        texts.next().map(ToOwned::to_owned)
    }

    fn raw(&self) -> Option<Box<RawValue>> {
        to_raw_value(self).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name.0, Cow::Borrowed(value)));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Reads)
    }
}

/// A name that is copied only where it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &**value)?;
        }
        map.end()
    }
}

fn list<'a>(raw: &'a RawValue) -> Option<Vec<&'a RawValue>> {
    serde_json::from_str::<Vec<&'a RawValue>>(raw.get()).ok()
}

/// A list whose objects get members; what is no object stays as it is.
fn each(raw: &RawValue, change: impl Fn(&mut Members<'_>)) -> Option<Box<RawValue>> {
    let items: Vec<Box<RawValue>> = list(raw)?
        .into_iter()
        .map(|item| {
            let changed = Members::read(item).and_then(|mut members| {
                change(&mut members);
                members.raw()
            });
            changed.unwrap_or_else(|| item.to_owned())
        })
        .collect();
    to_raw_value(&items).ok()
}

fn agents(payload: &RawValue) -> Option<Box<RawValue>> {
    let mut members = Members::read(payload)?;
    let agents = each(members.get("agents")?, |agent| agent.add("name", agent.text(&["name", "id"])))?;
    members.set("agents", agents);
    members.raw()
}

fn sessions(payload: &RawValue) -> Option<Box<RawValue>> {
    let mut members = Members::read(payload)?;
    let sessions = each(members.get("sessions")?, |session| {
        session.add("id", session.text(&["key", "sessionId"]));
        session.add("title", session.text(&["displayName", "label", "derivedTitle", "key"]));
    })?;
    members.set("sessions", sessions);
    members.raw()
}

/// By their order, then what stands in none.
fn channels(payload: &RawValue) -> Option<Box<RawValue>> {
    let mut members = Members::read(payload)?;
    let found = Members::read(members.get("channels")?)?;
    let labels = members.get("channelLabels").and_then(Members::read).unwrap_or_default();
    let order =
        members.get("channelOrder").and_then(|raw| serde_json::from_str::<Vec<String>>(raw.get()).ok());
    let order = order.unwrap_or_default();
    let place = |id: &str| order.iter().position(|known| known == id).unwrap_or(order.len());
    let mut entries: Vec<_> = found.0.iter().collect();
    entries.sort_by_key(|(id, _)| place(id));
    let entry = |(id, value): &(Cow<'_, str>, Cow<'_, RawValue>)| {
        let mut channel = Members::read(value).unwrap_or_default();
        let own = to_raw_value(id).ok();
        channel.add("id", own.clone());
        channel.add("name", labels.get(id).map(ToOwned::to_owned).or(own));
        channel.raw()
    };
    let entries: Vec<Box<RawValue>> = entries.into_iter().filter_map(entry).collect();
    let entries = to_raw_value(&entries).ok()?;
    members.set("channels", entries);
    members.raw()
}

/// `sessions` is a number here; what it holds today stands under `sessionStore`.
fn status(payload: &RawValue, health: Option<&RawValue>) -> Option<Box<RawValue>> {
    let mut members = Members::read(payload)?;
    let health = health.and_then(Members::read).unwrap_or_default();
    let number = |count: usize| to_raw_value(&count).ok();
    members.add("agents", health.get("agents").and_then(list).and_then(|agents| number(agents.len())));
    let channels = health.get("channels").and_then(Members::read);
    members.add("channels", channels.and_then(|channels| number(channels.0.len())));
    if let Some(store) =
        members.get("sessions").filter(|raw| raw.get().starts_with('{')).map(ToOwned::to_owned)
    {
        let count = Members::read(&store).and_then(|store| store.get("count").map(ToOwned::to_owned));
        if let Some(count) = count {
            members.set("sessions", count);
            members.add("sessionStore", Some(store));
        }
    }
    members.raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(shape: Shape, payload: &Value, health: Option<&Value>) -> Value {
        let raw = |value: &Value| RawValue::from_string(value.to_string()).unwrap();
        let health = health.map(raw);
        serde_json::from_str(shaped(shape, raw(payload), health.as_deref()).get()).unwrap()
    }

    #[test]
    fn status_has_the_numbers_that_old_pages_show() {
        let today = json!({"runtimeVersion": "2026.9.6", "sessions": {"paths": [], "count": 3}, "pid": 1});
        let health = json!({"ok": true, "agents": [{"agentId": "main"}, {}], "channels": {"telegram": {}}});
        assert_eq!(
            check(Shape::Status, &today, Some(&health)),
            json!({"runtimeVersion": "2026.9.6", "sessions": 3, "pid": 1, "agents": 2, "channels": 1,
                "sessionStore": {"paths": [], "count": 3}})
        );
        assert_eq!(check(Shape::Status, &json!({"pid": 1}), None), json!({"pid": 1}));
    }

    #[test]
    fn channels_are_a_list_in_their_order() {
        let today = json!({"channelOrder": ["slack", "telegram"], "channelLabels": {"slack": "Slack"},
            "channels": {"telegram": {"running": true}, "other": {}, "slack": {"id": "own"}}, "ts": 1});
        assert_eq!(
            check(Shape::Channels, &today, None)["channels"],
            json!([{"id": "own", "name": "Slack"}, {"running": true, "id": "telegram", "name": "telegram"},
                {"id": "other", "name": "other"}])
        );
    }

    #[test]
    fn sessions_and_agents_are_named() {
        let today = json!({"sessions": [{"key": "agent:main:main", "displayName": "Main"}, {"key": "k", "title": "t"}, 7]});
        assert_eq!(
            check(Shape::Sessions, &today, None)["sessions"],
            json!([{"key": "agent:main:main", "displayName": "Main", "id": "agent:main:main", "title": "Main"},
                {"key": "k", "title": "t", "id": "k"}, 7])
        );
        let today = json!({"defaultId": "main", "agents": [{"id": "main"}, {"id": "b", "name": "B"}]});
        assert_eq!(
            check(Shape::Agents, &today, None),
            json!({"defaultId": "main", "agents": [{"id": "main", "name": "main"}, {"id": "b", "name": "B"}]})
        );
    }

    #[test]
    fn what_looks_otherwise_goes_on_as_it_came() {
        for shape in [Shape::Agents, Shape::Channels, Shape::Sessions, Shape::Status] {
            for odd in [json!(7), json!([1]), json!(null)] {
                assert_eq!(check(shape, &odd, None), odd);
            }
        }
        for shape in [Shape::Agents, Shape::Channels, Shape::Sessions] {
            for odd in [json!({}), json!({"agents": 1, "channels": [], "sessions": "x"})] {
                assert_eq!(check(shape, &odd, None), odd);
            }
        }
    }
}
