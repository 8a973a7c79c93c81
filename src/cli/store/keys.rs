//! `mesh-store keys`: the registry of public keys, for those who administer a tenant.
//!
//! A node's keys are one row; a key that joins or leaves is written over what was read and over nothing else.
//! A private key is told from a public one here, before anything is sent.

use super::Failure;
use super::client::{Door, encoded, moment, print_json, text};
use super::table::{Align, table};
use crate::config::{public_key, thumbprint};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Read and change the public keys that nodes' signatures are checked with.
#[derive(Debug, clap::Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    List(List),
    Put(Put),
    Delete(Delete),
}

/// List the keys of all nodes.
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    door: Door,
}

/// Register a key beside those that the node has, or in their place.
#[derive(Debug, clap::Args)]
struct Put {
    #[command(flatten)]
    door: Door,
    /// The node that signs.
    node: String,
    /// File with the public key: PEM, or base64 of its 32 bytes; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// The key's name, as messages have it in `kid`; its thumbprint (RFC 7638) without.
    #[arg(long)]
    kid: Option<String>,
    /// First day (UTC) or moment on which it counts: `2027-06-01`, `2027-06-01T12:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = begin)]
    not_before: Option<i64>,
    /// Last day or moment on which it counts.
    #[arg(long, value_name = "TIME", value_parser = end)]
    not_after: Option<i64>,
    /// Take all other keys of the node away.
    #[arg(long)]
    replace: bool,
}

/// Take a node's keys away, or one of them.
#[derive(Debug, clap::Args)]
struct Delete {
    #[command(flatten)]
    door: Door,
    /// The node.
    node: String,
    /// This key alone.
    #[arg(long)]
    kid: Option<String>,
}

impl Keys {
    pub(super) fn execute(&self) -> Result<(), Failure> {
        match &self.what {
            What::List(list) => list.execute(),
            What::Put(put) => put.execute(),
            What::Delete(delete) => delete.execute(),
        }
    }
}

impl List {
    fn execute(&self) -> Result<(), Failure> {
        let answer = self.door.ask("GET", "/mesh/keys?order=key", None, None)?.row;
        if self.door.wants_json() {
            return print_json(&answer);
        }
        let mut rows = Vec::new();
        for node in answer.as_array().into_iter().flatten() {
            for key in node["keys"].as_array().into_iter().flatten() {
                let ends = [moment(&key["not_before"]), moment(&key["not_after"])];
                let [from, until] = ends.map(|end| if end.is_empty() { "-".to_owned() } else { end });
                rows.push(vec![text(node, "node"), text(key, "kid"), from, until, text(key, "public_key")]);
            }
        }
        print!("{}", table(&["node", "kid", "from", "until", "public key"], &[Align::Left; 5], &rows));
        Ok(())
    }
}

impl Put {
    fn execute(&self) -> Result<(), Failure> {
        let what = self.public_key.display().to_string();
        let read = if what == "-" {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(&self.public_key)
        };
        let text = read.map_err(|error| Failure::caused(&what, &error))?;
        let key = public_key::read(text.trim()).map_err(|error| Failure::caused(&what, &error))?;
        let kid = self.kid.clone().unwrap_or_else(|| thumbprint(&key));
        let new = json!({
            "kid": kid, "public_key": public_key::write(&key),
            "not_before": self.not_before, "not_after": self.not_after,
        });
        let path = path(&self.node);
        let there = self.door.ask("GET", &path, None, None)?;
        let mut keys = there.row["keys"].as_array().cloned().unwrap_or_default();
        // The same key again is the same key with another time.
        keys.retain(|known| {
            !self.replace && known["kid"] != new["kid"] && known["public_key"] != new["public_key"]
        });
        keys.push(new);
        write(&self.door, &path, there.tag.as_deref(), &keys)
    }
}

impl Delete {
    fn execute(&self) -> Result<(), Failure> {
        let path = path(&self.node);
        let there = self.door.ask("GET", &path, None, None)?;
        let none = || Failure::new(format!("the node {} has no such key", self.node));
        let tag = there.tag.as_deref().ok_or_else(none)?;
        let mut keys = there.row["keys"].as_array().cloned().unwrap_or_default();
        if let Some(kid) = &self.kid {
            let before = keys.len();
            keys.retain(|key| key["kid"] != kid.as_str());
            if keys.len() == before {
                return Err(none());
            }
        } else {
            keys.clear();
        }
        if !keys.is_empty() {
            return write(&self.door, &path, Some(tag), &keys);
        }
        let gone = self.door.ask("DELETE", &path, Some(("If-Match", tag)), None)?.row;
        if self.door.wants_json() { print_json(&gone) } else { Ok(()) }
    }
}

/// Writes a node's keys over what was read.
fn write(door: &Door, path: &str, tag: Option<&str>, keys: &[Value]) -> Result<(), Failure> {
    let condition = tag.map_or(("If-None-Match", "*"), |tag| ("If-Match", tag));
    let row = door.ask("PUT", path, Some(condition), Some(&json!({"keys": keys})))?.row;
    if door.wants_json() {
        return print_json(&row);
    }
    for key in row["keys"].as_array().into_iter().flatten() {
        println!("{}", text(key, "kid"));
    }
    Ok(())
}

fn path(node: &str) -> String {
    format!("/mesh/keys/{}", encoded(node))
}

/// A day counts from its beginning.
fn begin(text: &str) -> Result<i64, &'static str> {
    second(text, 0)
}

/// A day counts to its end.
fn end(text: &str) -> Result<i64, &'static str> {
    second(text, 1)
}

fn second(text: &str, days: i64) -> Result<i64, &'static str> {
    let wrong = "write a day, `2027-06-30`, or a moment, `2027-06-30T12:00:00Z`";
    let second = match text.parse::<jiff::civil::Date>() {
        Ok(day) if text.len() == 10 => {
            let day = jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_err(|_| wrong)?;
            day.as_second() + days * 24 * 3600
        }
        Ok(_) | Err(_) => text.parse::<jiff::Timestamp>().map_err(|_| wrong)?.as_second(),
    };
    if second >= 0 { Ok(second) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_from_its_beginning_to_its_end() {
        assert_eq!((begin("2027-06-30"), end("2027-06-30")), (Ok(1_814_313_600), Ok(1_814_400_000)));
        assert_eq!(end("2027-06-30T12:00:00Z"), Ok(1_814_356_800));
        assert!(begin("soon").is_err() && end("1960-01-01").is_err());
    }
}
