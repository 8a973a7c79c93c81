//! A plain client of a store's API, for people and scripts: `get`, `put`, `list`, `search` (and `watch`, beside this file).
//!
//! Tables on a terminal, and with `--json` what the store answered.

use super::Failure;
use super::table::{Align, has_colours, table};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// How long a store may take to answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Where the store is and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Door {
    /// Address of the store, or of the edge before it.
    #[arg(long, value_name = "URL", env = "MESH_STORE_URL", default_value = "http://127.0.0.1:4078")]
    url: String,
    /// Environment variable that holds the API key.
    #[arg(long, value_name = "NAME", default_value = "MESH_STORE_KEY")]
    key_env: String,
    /// Environment variable that holds the secret shared with the edge, to ask in its place; needs --tenant.
    #[arg(long, value_name = "NAME", requires = "tenant")]
    secret_env: Option<String>,
    /// Whose store, when asking in the edge's place.
    #[arg(long, value_name = "TENANT", requires = "secret_env")]
    tenant: Option<String>,
    /// Print what the store answered, as JSON.
    #[arg(long)]
    json: bool,
}

/// What a store told of a row.
#[derive(Debug)]
pub(super) struct Told {
    /// The row; null when there is none.
    pub(super) row: Value,
    /// Its entity tag.
    pub(super) tag: Option<String>,
}

/// Print a memory's value.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    #[command(flatten)]
    door: Door,
    /// Its scope.
    scope: String,
    /// Its key.
    key: String,
}

/// Write a memory.
#[derive(Debug, clap::Args)]
pub(super) struct Put {
    #[command(flatten)]
    door: Door,
    /// Its scope.
    scope: String,
    /// Its key.
    key: String,
    /// Its value: JSON, or else a text; `-` reads it from standard input.
    value: String,
    /// The node that says so.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

/// List memories, newest first.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    door: Door,
    /// Of this scope alone.
    #[arg(long)]
    scope: Option<String>,
}

/// Search memories, best first.
#[derive(Debug, clap::Args)]
pub(super) struct Search {
    #[command(flatten)]
    door: Door,
    /// What to look for.
    #[arg(required = true)]
    words: Vec<String>,
    /// By words, by nearness, or both.
    #[arg(long, default_value = "fts", value_parser = ["fts", "semantic", "hybrid"])]
    mode: String,
    /// In this scope alone.
    #[arg(long)]
    scope: Option<String>,
    /// Among keys that start so.
    #[arg(long)]
    prefix: Option<String>,
    /// Most hits, 1 to 100.
    #[arg(long, default_value_t = 25)]
    limit: u32,
}

impl Get {
    pub(super) fn execute(&self) -> Result<(), Failure> {
        let row = self.door.get(&place(&self.scope, &self.key))?;
        if self.door.json {
            return print_json(&row);
        }
        match &row["value"] {
            Value::String(text) => println!("{text}"),
            value => print_json(value)?,
        }
        Ok(())
    }
}

impl Put {
    pub(super) fn execute(&self) -> Result<(), Failure> {
        let text = if self.value == "-" {
            std::io::read_to_string(std::io::stdin())
                .map_err(|error| Failure::caused("standard input", &error))?
        } else {
            self.value.clone()
        };
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let mut body = serde_json::json!({"scope": self.scope, "key": self.key, "value": value});
        if let Some(node) = &self.node {
            body["node_id"] = Value::String(node.clone());
        }
        let row = self.door.put("/mesh/memory", &body)?;
        if self.door.json {
            return print_json(&row);
        }
        println!("{}", moment(&row["updated_at"]));
        Ok(())
    }
}

impl List {
    pub(super) fn execute(&self) -> Result<(), Failure> {
        let path = match &self.scope {
            Some(scope) => format!("/mesh/memory?scope={}", encoded(scope)),
            None => "/mesh/memory".to_owned(),
        };
        let answer = self.door.get(&path)?;
        if self.door.json {
            return print_json(&answer);
        }
        let cells = |row: &Value| {
            let value = match &row["value"] {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            vec![
                text(row, "scope"),
                text(row, "key"),
                value,
                text(row, "node_id"),
                moment(&row["updated_at"]),
            ]
        };
        let rows: Vec<_> = answer.as_array().into_iter().flatten().map(cells).collect();
        print!("{}", table(&["scope", "key", "value", "node", "updated"], &[Align::Left; 5], &rows));
        Ok(())
    }
}

impl Search {
    pub(super) fn execute(&self) -> Result<(), Failure> {
        let mut path = format!(
            "/mesh/memory?q={}&mode={}&limit={}",
            encoded(&self.words.join(" ")),
            self.mode,
            self.limit
        );
        for (name, value) in [("scope", &self.scope), ("prefix", &self.prefix)] {
            if let Some(value) = value {
                path = format!("{path}&{name}={}", encoded(value));
            }
        }
        if !self.json() && self.mode != "semantic" {
            path.push_str("&marks=html");
        }
        let answer = self.door.get(&path)?;
        if self.json() {
            return print_json(&answer);
        }
        for hit in answer.as_array().into_iter().flatten() {
            let measure = ["distance", "score"]
                .into_iter()
                .filter_map(|name| hit[name].as_f64().map(|number| format!("{name} {number:.3}")));
            let measure: Vec<String> = measure.collect();
            let line = format!("{} {}  {}", text(hit, "scope"), text(hit, "key"), measure.join("  "));
            println!("{}", plain(line.trim_end()));
            if let Some(snippet) = hit["snippet"].as_str() {
                println!("    {}", marked(snippet));
            }
        }
        Ok(())
    }

    fn json(&self) -> bool {
        self.door.json
    }
}

impl Door {
    fn agent(timeout: Duration) -> Agent {
        Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .proxy(None)
            .max_redirects(0)
            .build()
            .new_agent()
    }

    /// The fields that say who asks.
    fn fields(&self) -> Result<Vec<(&'static str, String)>, Failure> {
        let variable = |name: &str| {
            std::env::var(name)
                .map_err(|_| Failure::new(format!("the environment variable {name} is not set")))
        };
        match (&self.secret_env, &self.tenant) {
            (Some(secret), Some(tenant)) => {
                // Whoever has the secret may say what the caller may do, and is the operator here.
                Ok(vec![
                    ("X-Edge-Auth", variable(secret)?),
                    ("X-Tenant-Id", tenant.clone()),
                    ("X-Credential-Scopes", "mesh:admin".to_owned()),
                ])
            }
            (Some(_) | None, Some(_) | None) => {
                Ok(vec![("Authorization", format!("Bearer {}", variable(&self.key_env)?))])
            }
        }
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    pub(super) fn wants_json(&self) -> bool {
        self.json
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        self.get_within(path, TIMEOUT)
    }

    pub(super) fn get_within(&self, path: &str, timeout: Duration) -> Result<Value, Failure> {
        let mut request = Self::agent(timeout).get(self.address(path));
        for (name, value) in self.fields()? {
            request = request.header(name, value);
        }
        self.answer(request.call())
    }

    fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut request =
            Self::agent(TIMEOUT).put(self.address(path)).header("Content-Type", "application/json");
        for (name, value) in self.fields()? {
            request = request.header(name, value);
        }
        self.answer(request.send(body.to_string()))
    }

    /// Any request; with what must hold of the row, where that is said. A row that is not there is no failure.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        condition: Option<(&str, &str)>,
        body: Option<&Value>,
    ) -> Result<Told, Failure> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(self.address(path))
            .header("Content-Type", "application/json");
        for (name, value) in self.fields()? {
            request = request.header(name, value);
        }
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let text = body.map(ToString::to_string).unwrap_or_default();
        let request = request.body(text).map_err(|error| Failure::caused(&self.url, &error))?;
        let answer = Self::agent(TIMEOUT).run(request);
        if answer.as_ref().is_ok_and(|answer| answer.status() == 404 && method == "GET") {
            return Ok(Told { row: Value::Null, tag: None });
        }
        let tag = answer.as_ref().ok().and_then(|answer| answer.headers().get("etag")?.to_str().ok());
        let tag = tag.map(str::to_owned);
        Ok(Told { row: self.answer(answer)?, tag })
    }

    fn answer(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<Value, Failure> {
        let mut answer = answer.map_err(|error| Failure::caused(&self.url, &error))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string();
        let text = text.map_err(|error| Failure::caused(&self.url, &error))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let said = value["error"].as_str().or(value["message"].as_str()).unwrap_or_default();
        Err(Failure::new(format!("{status}: {said}")))
    }
}

pub(super) fn place(scope: &str, key: &str) -> String {
    format!("/mesh/memory/{}/{}", encoded(scope), encoded(key))
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

pub(super) fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::caused("the answer", &error))?;
    println!("{text}");
    Ok(())
}

/// Unix seconds as people read them.
pub(super) fn moment(seconds: &Value) -> String {
    let moment = seconds.as_i64().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map(|moment| moment.to_string()).unwrap_or_default()
}

/// A stored text moves no cursor and changes no colours.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A snippet with marks as a terminal shows it.
fn marked(snippet: &str) -> String {
    let (on, off) = if has_colours() { ("\u{1b}[1;33m", "\u{1b}[0m") } else { ("", "") };
    let text = plain(snippet);
    let text = text.replace("<mark>", on).replace("</mark>", off);
    // Ampersands last: what they stood before is text by then.
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .into_iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}
