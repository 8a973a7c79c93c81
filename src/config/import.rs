//! Lists of gateways that other programs keep, as sections for our config: Mission Control's, and the cells of
//! `openclaw fleet`.
//!
//! Tokens stay where they are: the result names the environment variables that must hold them. Names
//! that our rules do not allow are changed, and a comment says so.

use super::urls::{UrlError, check_control_ui, gateway_url};
use crate::ids::{GatewayId, TenantId};
use serde::Deserialize;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not JSON of the right shape. What stands there is not shown: it may be a token.
    #[error("this is no list of gateways: line {line}, column {column}")]
    Form {
        /// Line, from one.
        line: usize,
        /// Column.
        column: usize,
    },
    /// JSON, but no list that is known here.
    #[error(
        "this is neither Mission Control's `{{\"gateways\":[…]}}` nor what `openclaw fleet list --json` prints"
    )]
    Unknown,
    /// A gateway's address is of no use.
    #[error("the gateway at position {position}: {reason}")]
    Url {
        /// Position in the list, from one.
        position: usize,
        /// Why.
        #[source]
        reason: UrlError,
    },
}

/// Everything that is known, told apart by what is there.
#[derive(Deserialize)]
struct Exported {
    gateways: Option<Vec<Entry>>,
    /// `openclaw fleet list`.
    cells: Option<Vec<Cell>>,
    /// `openclaw fleet create` and `status`: one cell.
    tenant: Option<String>,
    port: Option<u16>,
}

/// A cell: one tenant's gateway in a container, published on this host's loopback address. The shape is that of OpenClaw
/// 2026.9.6, which calls it experimental.
#[derive(Deserialize)]
struct Cell {
    tenant: String,
    port: u16,
}

impl Cell {
    fn entry(self) -> Entry {
        let Self { tenant, port } = self;
        Entry {
            id: tenant.clone(),
            name: None,
            ws_url: format!("ws://127.0.0.1:{port}"),
            // Said once, when the cell is made; every cell has one.
            token: Some("said once".to_owned()),
            control_ui_url: Some(format!("http://127.0.0.1:{port}")),
            tenant_id: Some(tenant),
            enabled: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    name: Option<String>,
    ws_url: String,
    token: Option<String>,
    control_ui_url: Option<String>,
    tenant_id: Option<String>,
    enabled: Option<bool>,
}

/// Turns a list of gateways into YAML: `{"gateways":[{"id","name","wsUrl","token","controlUiUrl","tenantId","enabled"}]}`
/// or the list alone, as Mission Control has them, or what `openclaw fleet list --json` prints.
///
/// # Errors
/// [`ImportError`]: no such JSON, or an address that cannot be used.
pub fn import(json: &str) -> Result<String, ImportError> {
    let (entries, from) = read(json)?;
    let mut names = Names::default();
    let (mut tenants, mut variables, mut body) = (BTreeSet::new(), String::new(), String::new());
    for (index, entry) in entries.iter().enumerate() {
        let reason = gateway_url(&entry.ws_url).err();
        if let Some(reason) = reason {
            return Err(ImportError::Url { position: index + 1, reason });
        }
        write_gateway(entry, &mut names, &mut tenants, &mut variables, &mut body);
    }
    let mut out = format!("# {} Tokens are not written here.\n", from.words());
    if !variables.is_empty() {
        out.push_str("# Set before the start:\n");
        out.push_str(&variables);
    }
    out.push_str(if tenants.is_empty() { "tenants: {}\n" } else { "tenants:\n" });
    for tenant in &tenants {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "  {}: {{}}", quoted(tenant));
    }
    out.push_str(if body.is_empty() { "gateways: []\n" } else { "gateways:\n" });
    Ok(out + &body)
}

/// Whose list it was.
#[derive(Clone, Copy)]
enum Source {
    MissionControl,
    Fleet,
}

impl Source {
    const fn words(self) -> &'static str {
        match self {
            Self::MissionControl => "From Mission Control's list of gateways.",
            Self::Fleet => {
                "From the cells of `openclaw fleet`. A cell sees the edge at its network's address, not on loopback:\n\
                 # clients without a device get no scopes there (docs/gateways.md)."
            }
        }
    }
}

fn read(json: &str) -> Result<(Vec<Entry>, Source), ImportError> {
    let form = |error: serde_json::Error| ImportError::Form { line: error.line(), column: error.column() };
    if json.trim_start().starts_with('[') {
        return Ok((serde_json::from_str(json).map_err(form)?, Source::MissionControl));
    }
    let Exported { gateways, cells, tenant, port } = serde_json::from_str(json).map_err(form)?;
    let one = tenant.zip(port).map(|(tenant, port)| vec![Cell { tenant, port }]);
    match (gateways, cells.or(one)) {
        (Some(gateways), _) => Ok((gateways, Source::MissionControl)),
        (None, Some(cells)) => Ok((cells.into_iter().map(Cell::entry).collect(), Source::Fleet)),
        (None, None) => Err(ImportError::Unknown),
    }
}

fn write_gateway(
    entry: &Entry,
    names: &mut Names,
    tenants: &mut BTreeSet<String>,
    variables: &mut String,
    out: &mut String,
) {
    let id = names.gateway(&entry.id);
    let _ = write!(out, "  - id: {}", quoted(&id));
    if id != entry.id {
        let _ = write!(out, " # was {}", quoted(&entry.id));
    }
    out.push('\n');
    if let Some(name) = &entry.name {
        let _ = writeln!(out, "    name: {}", quoted(name));
    }
    let given = entry.tenant_id.as_deref().filter(|given| !given.is_empty());
    let tenant = given.map_or_else(|| "default".to_owned(), |given| as_word(given, "tenant"));
    let note = match given {
        None => " # had none".to_owned(),
        Some(given) if given != tenant => format!(" # was {}", quoted(given)),
        Some(_) => String::new(),
    };
    let _ = writeln!(out, "    tenant: {}{note}", quoted(&tenant));
    tenants.insert(tenant);
    let _ = writeln!(out, "    url: {}", quoted(&entry.ws_url));
    if entry.token.as_deref().is_some_and(|token| !token.is_empty()) {
        let variable = names.variable(&id);
        let _ = writeln!(variables, "#   {variable}: the token of {}", quoted(&id));
        let _ = writeln!(out, "    token: {{ env: {variable} }}");
    }
    match entry.control_ui_url.as_deref().map(|url| (url, check_control_ui(url))) {
        Some((url, Ok(()))) => {
            let _ = writeln!(out, "    control_ui: {}", quoted(url));
        }
        Some((_, Err(reason))) => {
            let _ = writeln!(out, "    # its Control UI is left out: {reason}");
        }
        None => {}
    }
    if entry.enabled == Some(false) {
        out.push_str("    enabled: false\n");
    }
}

/// Names that were given out, so that none is given twice.
#[derive(Default)]
struct Names {
    gateways: HashSet<String>,
    variables: HashSet<String>,
}

impl Names {
    fn gateway(&mut self, given: &str) -> String {
        let wanted = as_word(given, "gateway");
        free(&mut self.gateways, &wanted, "-")
    }

    fn variable(&mut self, id: &str) -> String {
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let mut wanted: String = id.chars().map(upper).collect();
        if wanted.starts_with(|c: char| c.is_ascii_digit()) {
            wanted.insert(0, '_');
        }
        free(&mut self.variables, &(wanted + "_GATEWAY_TOKEN"), "_")
    }
}

/// The name, or the name with the first number that makes it free.
fn free(taken: &mut HashSet<String>, wanted: &str, joint: &str) -> String {
    let numbered = (2_u32..).map(|number| {
        let ending = format!("{joint}{number}");
        let keep = wanted.len().min(128).min(if joint == "-" { 64 - ending.len() } else { 120 });
        format!("{}{ending}", &wanted[..keep])
    });
    let mut candidates = std::iter::once(wanted.to_owned()).chain(numbered);
    let name = candidates.find(|name| !taken.contains(name));
    let name = name.expect("there are more numbers than gateways");
    taken.insert(name.clone());
    name
}

/// A name by the rules of tenants and gateways, as near to `given` as they let it be.
fn as_word(given: &str, otherwise: &str) -> String {
    if TenantId::parse(given).is_ok() && GatewayId::parse(given).is_ok() {
        return given.to_owned();
    }
    let fit = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') => c,
        _ => '-',
    };
    let word: String = given.chars().map(fit).take(64).collect();
    let word = word.trim_matches('-');
    if word.is_empty() { otherwise.to_owned() } else { word.to_owned() }
}

/// Text in double quotes, on one line, safe from `${…}`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Effects, Surroundings, parse_in};
    use proptest::prelude::{any, proptest};

    const FRAME: &str = "listen: [{ address: \"127.0.0.1:8080\" }]\nroutes:\n  - { name: api, path: /api/**, mission_control: true }\n";

    fn load(json: &str) -> (String, Vec<crate::config::checked::Gateway>) {
        let yaml = import(json).expect("imports");
        let env = |name: &str| name.contains("_GATEWAY_TOKEN").then(|| "token-text".to_owned());
        let around = Surroundings { env: &env, effects: Effects::None };
        let loaded = parse_in("imported", &format!("{FRAME}{yaml}"), around);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
        (yaml, loaded.config.gateways)
    }

    #[test]
    fn a_list_of_gateways_loads_and_shows_no_token() {
        let (yaml, gateways) = load(
            r#"{"gateways":[
              {"id":"ceo","name":"CEO: \"Mac\" ${HOME}","wsUrl":"ws://127.0.0.1:18789","token":"s3cr3t-planted","tenantId":"acme","controlUiUrl":"http://127.0.0.1:18789"},
              {"id":"CEO","wsUrl":"wss://gw.example.com/x","token":"s3cr3t-planted","controlUiUrl":"http://h/#token=s3cr3t-planted"},
              {"id":"7 up","wsUrl":"ws://h:1","token":"","tenantId":"Big Corp","enabled":false,"extra":1}]}"#,
        );
        assert!(!yaml.contains("s3cr3t"), "{yaml}");
        let shown: Vec<_> =
            gateways.iter().map(|g| (g.id.as_str(), g.name.as_str(), g.tenant.as_str())).collect();
        assert_eq!(shown, [("ceo", "CEO: \"Mac\" ${HOME}", "acme"), ("ceo-2", "ceo-2", "default")]);
        for part in [
            "#   CEO_GATEWAY_TOKEN: the token of \"ceo\"",
            "CEO_2_GATEWAY_TOKEN",
            "# had none",
            "\"big-corp\"",
            "\"7-up\"",
            "enabled: false",
        ] {
            assert!(yaml.contains(part), "{part}\n{yaml}");
        }
    }

    #[test]
    fn the_cells_of_a_fleet_load() {
        // As `openclaw fleet list --json` and `create --json` of 2026.9.6 print them.
        let list = r#"{"cells":[
            {"tenant":"acme","state":"running","port":19100,"image":"ghcr.io/openclaw/openclaw:latest","created":"2026-11-24T10:00:00.000Z"},
            {"tenant":"globex","state":"exited","port":19101,"image":"ghcr.io/openclaw/openclaw:latest","created":"2026-11-24T10:00:01.000Z"}]}"#;
        let one = r#"{"tenant":"acme","containerName":"openclaw-cell-acme","port":19100,"image":"i","runtime":"docker","started":true,
            "token":"s3cr3t-planted","tokenNote":"Shown once.","url":"http://127.0.0.1:19100","nextStep":"Open it"}"#;
        let (yaml, gateways) = load(list);
        let shown: Vec<_> = gateways
            .iter()
            .map(|g| (g.id.as_str(), g.tenant.as_str(), g.url.port, g.token.is_some()))
            .collect();
        assert_eq!(shown, [("acme", "acme", 19100, true), ("globex", "globex", 19101, true)]);
        assert!(yaml.contains("GLOBEX_GATEWAY_TOKEN") && yaml.contains("openclaw fleet"), "{yaml}");
        let (yaml, gateways) = load(one);
        assert_eq!((gateways.len(), yaml.contains("s3cr3t")), (1, false), "{yaml}");
    }

    #[test]
    fn a_bare_list_loads_and_other_json_is_said_to_be_none() {
        let (_, gateways) = load(r#" [{"id":"a","wsUrl":"ws://h:1","tenantId":"acme"}]"#);
        assert_eq!(gateways[0].id.as_str(), "a");
        assert!(matches!(import(r#"{"nodes":["s3cr3t"]}"#), Err(ImportError::Unknown)));
    }

    #[test]
    fn what_cannot_be_imported_says_where_and_not_what() {
        let form = import(r#"{"gateways":[{"id":"a","wsUrl":["s3cr3t"]}]}"#).expect_err("form");
        assert!(matches!(form, ImportError::Form { line: 1, .. }), "{form}");
        let url = import(r#"{"gateways":[{"id":"a","wsUrl":"ws://h/?token=s3cr3t"}]}"#).expect_err("url");
        assert!(matches!(url, ImportError::Url { position: 1, .. }));
        assert!(!format!("{form}{form:?}{url}{url:?}").contains("s3cr3t"));
    }

    proptest! {
        #[test]
        fn any_names_give_a_config_that_loads(
            ids in proptest::collection::vec(any::<String>(), 0..5), name in any::<String>(), tenant in any::<String>(),
        ) {
            let gateways: Vec<_> = ids.iter().map(|id| serde_json::json!({
                "id": id, "name": name, "wsUrl": "ws://h:1", "token": "t", "tenantId": tenant,
            })).collect();
            let (_, loaded) = load(&serde_json::json!({ "gateways": gateways }).to_string());
            assert_eq!(loaded.len(), ids.len());
            assert!(loaded.iter().all(|gateway| gateway.name == name));
        }

        #[test]
        fn no_text_makes_the_import_panic(text in any::<String>()) {
            let _ = import(&text);
        }
    }
}
