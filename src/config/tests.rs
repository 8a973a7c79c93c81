//! Each kind of mistake, its place and its words; all of them at once; hostile files.

use super::{Effects, Problems, Surroundings, parse_in};
use proptest::prelude::{any, proptest};

/// A config without mistakes, small enough to break in one place at a time.
pub(super) const GOOD: &str = r#"listen:
  - address: "127.0.0.1:8080"
tenants:
  acme: {}
credentials:
  - id: key
    tenant: acme
    secret: { env: KEY }
    scopes: [read]
limits:
  per-ip: { by: ip, window: { limit: 5, per: 1m } }
  each: { by: credential, window: { limit: 5, per: 1m } }
upstreams:
  bridge: { servers: ["127.0.0.1:4077"] }
gateways:
  - id: ceo
    tenant: acme
    url: "ws://127.0.0.1:18789"
routes:
  - name: one
    path: /one/**
    scopes: [read]
    limits: [per-ip, each]
    upstream: bridge
  - name: two
    path: /two/{gateway}
    gateway: "{gateway}"
"#;

pub(super) const PLANTED: &str = "planted-secret-0123456789-abcdef";

pub(super) fn env(name: &str) -> Option<String> {
    match name {
        "KEY"
        | "BRIDGE_SECRET"
        | "EMBEDDINGS_KEY"
        | "CEO_GATEWAY_TOKEN"
        | "GLOBEX_OPS_KEY"
        | "GITHUB_SECRET"
        | "GITHUB_SECRET_OLD"
        | "TWILIO_AUTH_TOKEN"
        | "OTHER_SECRET"
        | "PARTNER_SECRET"
        | "PARTNER_SIGNING_SECRET"
        | "PARTNER_MESH_TOKEN"
        | "REDIS_PASSWORD"
        | "SESSIONS_SECRET"
        | "OPENCLAW_HOOK_TOKEN" => Some(PLANTED.to_owned()),
        "ARMY_HOST" => Some("army.internal".to_owned()),
        "PER" => Some("7".to_owned()),
        "SHORT" => Some("short".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<super::Loaded, Problems> {
    parse_in("t.yaml", text, Surroundings { env: &env, effects: Effects::None })
}

fn good_with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the good config");
    GOOD.replacen(from, to, 1)
}

/// Breaks the good config in one place and compares what is told: `line:column: message | hint`.
fn check(from: &str, to: &str, expected: &[&str]) {
    let problems = load(&good_with(from, to)).expect_err(to);
    let told: Vec<String> = problems
        .iter()
        .map(|p| {
            let hint = p.hint.as_deref().map(|hint| format!(" | {hint}")).unwrap_or_default();
            format!("{}:{}: {}{hint}", p.line, p.column, p.message)
        })
        .collect();
    let fits = told.len() == expected.len()
        && told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected));
    assert!(fits, "for {to:?}\n told {told:#?}\n want {expected:#?}");
}

#[test]
fn the_good_config_is_good() {
    let loaded = load(GOOD).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.routes.len(), 2);
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.fingerprint.len(), 64);
}

#[test]
fn sessions_have_a_good_secret_and_a_place() {
    let with = |sessions: &str| format!("sessions: {sessions}\nlisten:");
    check(
        "listen:",
        &with("{ secret: { env: SHORT } }"),
        &[
            "1:21: this secret is weak: it is shorter than 32 characters",
            "21:3: there are `sessions`, and no route where they begin | a route `{ name: auth",
        ],
    );
    let route =
        |path: &str, more: &str| format!("routes:\n  - {{ name: auth, path: {path}, sessions: true{more} }}");
    check("routes:", &route("/auth/**", ""), &["20:35: this route is for sessions, and there are none"]);
    let good = good_with("listen:", &with("{ secret: { env: KEY }, idle: 5m }"));
    let loaded = load(&good.replacen("routes:", &route("/auth/**", ""), 1)).expect("no mistake");
    assert_eq!(loaded.config.sessions.map(|sessions| sessions.idle.as_secs()), Some(300));
    for bad in [
        route("/auth/session", ""),
        route("/auth/**", ", public: true"),
        route("/auth/**", ", upstream: bridge"),
    ] {
        load(&good.replacen("routes:", &bad, 1)).expect_err(&bad);
    }
    let same = good.replacen("{ env: KEY }", &format!("\"{}\"", "abc".repeat(20)), 1);
    load(&format!("allow_literal_secrets: true\n{}", same.replacen("routes:", &route("/auth/**", ""), 1)))
        .expect_err("a secret of three letters");
}

#[test]
fn a_mistake_of_shape_is_told_where_it_stands() {
    check(
        "listen:",
        "lissten:",
        &["1:1: unknown key `lissten` | did you mean `listen`?", "1:1: the key `listen` is missing here"],
    );
    check("servers: [\"127.0.0.1:4077\"]", "servers: 4077", &["14:22: expected a list, found a number"]);
    check(
        "servers: [\"127.0.0.1:4077\"]",
        "servers: [4077]",
        &["14:23: expected text, found a number | put it in quotes"],
    );
    check("  acme: {}", "  acme:", &["4:7: expected a mapping, found nothing | write `{}`"]);
    check("    tenant: acme\n    secret", "    secret", &["6:5: the key `tenant` is missing here"]);
    check(
        "by: ip",
        "by: ipp",
        &[
            "11:17: expected `ip`, `network`, `credential`, `tenant`, `node`, `route`, `method` or `header`, found `ipp` | did you mean `ip`?",
        ],
    );
    check(
        "{ env: KEY }",
        "{ evn: KEY }",
        &["8:15: expected one of the keys `env`, `file` or `generated` | did you mean `env`?"],
    );
    check("{ env: KEY }", "{ env: KEY, x: 1 }", &["8:25: unknown key `x` | known here: env"]);
    check("{ env: KEY }", "[a]", &["8:13: expected a mapping or text, found a list"]);
    check("limit: 5", "limit: -1", &["11:38: this number is not between 0 and 4294967295"]);
    check("limit: 5", "limit: 4294967296", &["11:38: this number is not between"]);
    check("limit: 5", "limit: 1.5", &["11:38: expected a whole number, found a number"]);
    check("limit: 5", "limit: \"5\"", &["11:38: expected a whole number, found text | write digits alone"]);
    check(
        "path: /one/**",
        "path: /one/**\n    public: yes",
        &["22:13: expected `true` or `false`, found text | write `true`"],
    );
    check("  - id: ceo", "  - id: 7", &["16:9: expected text, found a number | put it in quotes"]);
}

#[test]
fn a_mistake_of_yaml_is_told_where_it_stands() {
    check(
        "    tenant: acme\n",
        "    tenant: acme\n    tenant: acme\n",
        &["8:5: `tenant` stands here twice; first on line 7"],
    );
    check("  acme: {}", "\tacme: {}", &["4:1: a tab where YAML allows none | indent with spaces"]);
    check("  acme: {}", "  acme: !x {}", &["4:9: a YAML tag"]);
    check("  acme: {}", "  acme: *no", &["4:9: an alias of an anchor that is not there"]);
    check("  acme: {}", "  acme: {}\n  <<: {}", &["5:3: a merge"]);
    check("  acme: {}", "  acme: {}\n  [a]: {}", &["5:3: this is no key"]);
    check("  acme: {}", "  acme: {}\n---\na: b", &["5:1: a second document begins here"]);
    check("  acme: {}", "  acme: {}\u{0}", &["4:11: a control character"]);
    check("  acme: {}", "  acme: {", &["6:3: this is not YAML: "]);
    for empty in ["", "# only words\n", "---\n", "null\n"] {
        let problems = load(empty).expect_err("empty");
        assert_eq!(problems.to_string(), "t.yaml:1:1: this file is empty", "{empty:?}");
    }
}

#[test]
fn a_mistake_of_meaning_is_told_where_it_stands() {
    check("\"127.0.0.1:8080\"", "\"localhost:8080\"", &["2:14: this is no address `localhost:8080`"]);
    check(
        "listen:\n  - address: \"127.0.0.1:8080\"\n",
        "listen: []\n",
        &["1:9: at least one address is needed"],
    );
    check(
        "tenants:",
        "client_address: { trusted_proxies: [10.0.0.0/8, 10.0.0.1/8, x] }\ntenants:",
        &[
            "3:49: this network has bits set beyond its prefix | did you mean `10.0.0.0/8`?",
            "3:61: this is no network `x`",
        ],
    );
    check("tenants:", "admin: \"127.0.0.1:8080\"\ntenants:", &["3:8: `127.0.0.1:8080` is also among"]);
    check("tenants:", "access_log: { to: stdot }\ntenants:", &["3:19: this is no target `stdot`"]);
    check(
        "tenants:",
        "server: { drain: 30, threads: 0, max_held_bodies: 1mb }\ntenants:",
        &[
            "3:18: expected text, found a number",
            "3:31: this is not between 1 and 1024",
            "3:51: this size has a unit that is not known",
        ],
    );
    check(
        "acme: {}",
        "ACME: {}",
        &[
            "4:3: the tenant's name has 'A' at byte 0",
            "7:13: there is no tenant `acme` | did you mean `ACME`?",
            "17:13: there is no tenant `acme` | did you mean `ACME`?",
        ],
    );
    check(
        "    tenant: acme\n    secret",
        "    tenant: acne\n    secret",
        &["7:13: there is no tenant `acne` | did you mean `acme`?"],
    );
    check("    secret: { env: KEY }", "    hash: sha256:12", &["8:11: this is no hash of a key"]);
    check(
        "    secret: { env: KEY }",
        "    secret: { env: KEY }\n    hash: sha256:12",
        &["8:5: a credential has either `hash` or `secret`, not both"],
    );
    check("    secret: { env: KEY }\n", "", &["6:5: a credential needs `hash`, `secret` or `certificate`"]);
    check(
        "env: KEY",
        "env: NONE",
        &["8:20: the environment variable NONE is not set | set it before the start: `NONE=…`"],
    );
    check("env: KEY", "env: a-b", &["8:20: this is no name of an environment variable"]);
    check("env: KEY", "env: SHORT", &["8:13: this key is weak: it is shorter than 24 characters"]);
    check(
        "{ env: KEY }",
        "{ file: /nowhere/x }",
        &["8:21: the file `/nowhere/x` cannot be read: it is not there"],
    );
    check("{ env: KEY }", PLANTED, &["8:13: a secret stands in this file"]);
    check("{ env: KEY }", "{ env: KEY }\n    expires: 2027-02-30", &["9:14: this is no date `2027-02-30`"]);
    check(
        "scopes: [read]",
        "scopes: [read, read, \"a b\"]",
        &["9:20: this scope stands here twice", "9:26: the scope `a b` has ' ' at byte 1"],
    );
    check(
        "limits:\n",
        "  - { id: key, tenant: acme, secret: { env: KEY } }\nlimits:\n",
        &[
            "10:5: this is the same key as that of the credential on line 6",
            "10:11: two credentials are called `key`; the other is on line 6",
        ],
    );
    check(
        "limits:\n",
        "nodes:\n  - { tenant: acme, node: a, public_key: AAAA }\nlimits:\n",
        &["11:42: this is not base64 of 32 bytes"],
    );
}

#[test]
fn a_mistake_in_a_limit_or_a_backend_is_told_where_it_stands() {
    check("limit: 5", "limit: 0", &["11:38: a limit lets at least 1 through"]);
    check("per: 1m", "per: 10ms", &["11:46: the time `10ms` is not between 1s and 31d"]);
    check("per: 1m", "per: 32d", &["11:46: the time `32d` is not between 1s and 31d"]);
    check("per: 1m", "per: soon", &["11:46: the time `soon` does not begin with a whole number"]);
    check(
        "window: { limit: 5, per: 1m } }\n",
        "quota: { limit: 5, per: 1m } }\n",
        &["11:45: the time `1m` is not between 1h and 31d"],
    );
    check(
        "by: ip, window: { limit: 5, per: 1m }",
        "by: ip",
        &["11:11: a limit needs `window`, `quota`, `rate` or"],
    );
    check("by: ip, ", "by: ip, quota: { limit: 5, per: 1h }, ", &["11:21: a limit has either"]);
    check(
        "by: ip, ",
        "by: ip, concurrency: 0, rate: { per_second: 1, burst: 1 }, ",
        &["11:37: a limit has either"],
    );
    let rate = |text: &str, expected: &[&str]| check("window: { limit: 5, per: 1m }", text, expected);
    rate("rate: { per_second: 0, burst: 1 }", &["11:41: a rate lies between"]);
    rate("rate: { per_second: 0.5, burst: 0 }", &["11:53: a limit lets at least 1 through"]);
    rate("rate: { per_second: 1, burst: 2 }, proposed: { limit: 3 }", &["11:66: a rate is two numbers"]);
    rate("concurrency: 0", &["11:34: a limit lets at least 1 through"]);
    rate("concurrency: 3, cost: 2", &["11:37: what is in flight counts for 1"]);
    rate("window: { limit: 5, per: 1m }, cost: 6", &["11:58: one request would cost more"]);
    rate("window: { limit: 5, per: 1m }, cost: 0", &["11:58: a request that costs nothing"]);
    rate("window: { limit: 5, per: 1m }, methods: { BREW: 1 }", &["11:63: this method has no weight"]);
    rate("window: { limit: 5, per: 1m }, counts: body_bytes, cost: 2", &["11:72: a limit that counts bytes"]);
    rate("quota: { limit: 5, per: 1h }", &["11:17: a quota lasts, and counts by one thing"]);
    check("by: ip", "by: [ip, route, ip]", &["11:29: this stands here twice"]);
    check("by: ip", "by: []", &["11:17: a limit counts by something"]);
    check("servers: [\"127.0.0.1:4077\"]", "servers: [\"127.0.0.1\"]", &["14:23: this is no server"]);
    check(
        "servers: [\"127.0.0.1:4077\"]",
        "servers: [\"a:1\"], embedded: { database: x.db }",
        &["14:31: an upstream has either"],
    );
    check("{ servers: [\"127.0.0.1:4077\"] }", "{}", &["14:11: an upstream needs"]);
    check(
        "{ servers: [\"127.0.0.1:4077\"] }",
        "{ embedded: { database: a } }\n  b: { embedded: { database: b } }",
        &["15:8: a second embedded store; `bridge` is the first"],
    );
    check(
        "\"127.0.0.1:4077\"]",
        "\"127.0.0.1:4077\"], headers: { X-Tenant-Id: { env: KEY }, \"a b\": { env: KEY } }",
        &["14:53: `x-tenant-id` is set by the edge itself", "14:80: this is no name of a header"],
    );
    check(
        "ws://127.0.0.1:18789",
        "http://127.0.0.1:18789",
        &["18:10: this address does not begin with `ws://` or `wss://`"],
    );
    check(
        "gateways:\n",
        "gateways:\n  - { id: ceo, tenant: acme, url: \"ws://h\" }\n",
        &["17:9: two gateways are called `ceo`; the other is on line 16"],
    );
}

#[test]
fn a_mistake_in_a_route_is_told_where_it_stands() {
    check(
        "upstream: bridge",
        "upstream: brigde",
        &["24:15: there is no upstream `brigde` | did you mean `bridge`?"],
    );
    check(
        "[per-ip, each]",
        "[per-ip, eech, per-ip]",
        &["23:22: there is no limit `eech` | did you mean `each`?", "23:28: this limit stands here twice"],
    );
    check("    upstream: bridge\n", "", &["20:5: a route needs one of"]);
    check(
        "    upstream: bridge\n",
        "    upstream: bridge\n    mission_control: true\n",
        &["20:5: a route has only one of"],
    );
    check("path: /one/**", "path: /one/**/x", &["21:11: the path `/one/**/x` has `**` before its end"]);
    check("path: /one/**", "path: /one/**\n    host: \"a:80\"", &["22:11: the host `a:80` is no host"]);
    check(
        "path: /one/**",
        "path: /one/**\n    methods: [get, \"A B\", CONNECT]",
        &[
            "22:15: methods are written in upper case | did you mean `GET`?",
            "22:20: this is no method: `A B`",
            "22:27: CONNECT has no path",
        ],
    );
    check(
        "gateway: \"{gateway}\"",
        "gateway: \"{gatewey}\"",
        &["27:14: the path has no parameter `{gatewey}` | did you mean `gateway`?"],
    );
    check(
        "gateway: \"{gateway}\"",
        "gateway: coe",
        &["27:14: there is no gateway `coe` | did you mean `ceo`?"],
    );
    check(
        "url: \"ws://127.0.0.1:18789\"\nroutes:",
        "url: \"ws://h\"\n    enabled: false\nroutes:\n  - { name: x, path: /x, gateway: ceo }",
        &["21:35: this gateway is not enabled: `ceo`"],
    );
    check(
        "path: /one/**",
        "path: /one/**\n    public: true",
        &[
            "23:5: a public route has no caller who could have `scopes`",
            "24:22: the limit `each` counts by who is calling, and this route is public",
        ],
    );
    check(
        "    scopes: [read]\n    limits: [per-ip, each]",
        "    tenant: acme\n    limits: [each]",
        &[
            "22:5: `tenant` is for routes whose callers must sign",
            "23:14: the limit `each` counts by credential",
        ],
    );
    check(
        "    scopes: [read]\n    limits: [per-ip, each]",
        "    tenant: acme\n    verify: { scheme: mesh, mode: optional }",
        &["22:5: `tenant` is for routes whose callers must sign"],
    );
    check(
        "path: /one/**",
        "path: /one/**\n    verify: { scheme: mesh, on_failure: drop, envelope: query }",
        &["22:29: nothing can be dropped from inside an envelope"],
    );
    check(
        "path: /one/**",
        "path: /one/**\n    strip_prefix: /two",
        &["22:19: this is not how the route's `path` begins"],
    );
    check(
        "path: /one/**",
        "path: /one/**\n    add_prefix: /two/",
        &["22:17: the prefix `/two/` has an empty segment"],
    );
    check(
        "gateway: \"{gateway}\"",
        "gateway: ceo\n    strip_prefix: /two",
        &["28:5: `strip_prefix` goes with `upstream` only"],
    );
    check(
        "gateway: \"{gateway}\"",
        "mission_control: true\n    public: true",
        &["28:5: `mission_control` shows a caller"],
    );
    check("name: two", "name: one", &["25:11: two routes are called `one`; the other is on line 20"]);
    check(
        "path: /two/{gateway}",
        "path: /one/**\n    upstream: bridge\n  - name: three\n    path: /two/{gateway}",
        &["26:11: the routes `one` (line 20) and `two` take the same requests"],
    );
    check(
        "routes:\n",
        "unmatched: { limits: [each, per-ip] }\nroutes:\n",
        &["19:23: the limit `each` counts by more than `ip`"],
    );
}

#[test]
fn more_scopes_than_can_be_told_apart_are_refused() {
    let many: Vec<String> = (0..121).map(|n| format!("s{n}")).collect();
    check(
        "scopes: [read]",
        &format!("scopes: [{}]", many.join(", ")),
        &["5:1: 122 different scopes are named; at most 120"],
    );
}

#[test]
fn ten_mistakes_in_one_file_are_told_at_once() {
    let text = r#"listen: [{ address: "nowhere" }]
lissten: []
tenants: { acme: {}, BAD: {} }
credentials:
  - { id: a, tenant: acmee, hash: x }
  - { id: b, tenant: acme, secret: { env: NONE }, expires: never }
limits:
  l: { by: ip, window: { limit: many, per: 1m } }
  m: { by: ip, window: { limit: 1, per: 1 } }
upstreams: { u: { servers: [":"] } }
routes:
  - { name: r, path: no, limits: [l, n], upstream: u }
  - { name: s, path: /s, limits: [m], upstream: v, colour: red }
"#;
    let problems = load(text).expect_err("many mistakes");
    let lines: Vec<usize> = problems.iter().map(|p| p.line).collect();
    assert_eq!(lines, [1, 2, 3, 5, 5, 6, 6, 8, 9, 10, 12, 12, 13, 13], "{problems}");
    // Names whose own entry is broken are not told again where they are used.
    assert!(!problems.to_string().contains("there is no limit `l`"), "{problems}");
}

#[test]
fn values_come_from_the_environment_and_numbers_stay_numbers() {
    let text = good_with("limit: 5, per: 1m } }\n", "limit: 5, per: \"${PER}m\" } }\n");
    let text = text.replacen("limits: [per-ip, each]", "limits: [per-ip]", 1);
    let loaded = load(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.limits[1].per.as_secs(), 420);
    let text = format!("{GOOD}limiter:\n  max_addresses: ${{PER}}000\n");
    assert_eq!(load(&text).unwrap_or_else(|problems| panic!("{problems}")).config.max_addresses, 7000);
    check("tenants:", "data: ${NONE}/x\ntenants:", &["3:7: the environment variable NONE is not set"]);
    let from_env = good_with("{ env: KEY }", "${KEY}");
    assert!(load(&from_env).is_ok(), "what comes from the environment is no literal secret");
    let single = good_with("tenants:", "data: '${NONE}'\ntenants:");
    assert_eq!(load(&single).expect("single quotes").config.data.as_os_str(), "${NONE}");
}

#[test]
fn a_literal_secret_needs_permission() {
    let text = format!("{}allow_literal_secrets: true\n", good_with("{ env: KEY }", PLANTED));
    assert!(load(&text).is_ok());
}

#[test]
fn no_secret_reaches_a_problem_or_a_debug_text() {
    let everywhere = [
        ("{ env: KEY }", PLANTED.to_owned()),
        ("{ env: KEY }", format!("[{PLANTED}]")),
        ("{ env: KEY }", format!("{{ env: \"{PLANTED}\" }}")),
        ("    secret: { env: KEY }", format!("    hash: \"{PLANTED}\"")),
        ("    secret: { env: KEY }", format!("    hash: \"sha256:{PLANTED}\"")),
        ("ws://127.0.0.1:18789", format!("ws://u:{PLANTED}@h")),
        ("ws://127.0.0.1:18789", format!("ws://h/?token={PLANTED}")),
        ("127.0.0.1:4077", format!("u:{PLANTED}@h:1")),
        ("by: ip", "by: ${KEY}".to_owned()),
        ("upstream: bridge", "upstream: ${KEY}".to_owned()),
        ("name: two", "name: \"${KEY} x\"".to_owned()),
        ("path: /one/**", "path: ${KEY}".to_owned()),
        ("\"127.0.0.1:8080\"", "${KEY}".to_owned()),
        ("per: 1m", "per: \"${KEY}\"".to_owned()),
        ("scopes: [read]", "scopes: [\"${KEY} x\"]".to_owned()),
        ("    tenant: acme\n    secret", "    tenant: ${KEY}\n    secret".to_owned()),
    ];
    for (from, to) in everywhere {
        let problems = load(&good_with(from, &to)).expect_err(&to);
        assert!(!format!("{problems}{problems:?}").contains("planted"), "{to}: {problems}");
    }
    let loaded = load(&good_with("url: \"ws", "token: { env: KEY }\n    url: \"ws")).expect("good");
    assert!(loaded.config.gateways[0].token.is_some());
    assert!(!format!("{loaded:?}").contains("planted"));
    let reading = super::read_text::<super::raw::Config>("t", &good_with("{ env: KEY }", PLANTED), &env);
    let reading = reading.expect("reads");
    assert!(!format!("{reading:?}{:?}", reading.raw.credentials[0].secret).contains("planted"));
}

#[test]
fn an_alias_may_be_used_but_a_bomb_is_refused() {
    let text = good_with("window: { limit: 5, per: 1m } }\n", "window: &w { limit: 5, per: 1m } }\n")
        .replacen(
            "each: { by: credential, window: { limit: 5, per: 1m } }",
            "each: { by: credential, window: *w }",
            1,
        );
    assert!(load(&text).is_ok());
    let row = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 8].join(", "));
    let bomb = format!("a0: &a0 [x, x]\n{}", (1..40).map(row).collect::<Vec<_>>().concat());
    let problems = load(&bomb).expect_err("a bomb");
    assert!(problems.to_string().contains("with aliases put in"), "{problems}");
    let row = |n: usize| format!("a{n}: &a{n} [*a{}]\n", n - 1);
    let chain = (1..2000).map(row).collect::<Vec<_>>().concat();
    let problems = load(&format!("a0: &a0 x\n{chain}")).expect_err("a chain");
    assert!(problems.to_string().contains("levels deep"), "{problems}");
    let open: String = (0..60).map(|n| format!("&a{n} [")).collect::<Vec<_>>().concat();
    let nested =
        load(&format!("{open}{}{}", "x,".repeat(50_000), "]".repeat(60))).expect_err("nested anchors");
    assert!(nested.to_string().contains("with aliases put in"), "{nested}");
    let own = load("a: &a [*a]\n").expect_err("a snake");
    assert!(own.to_string().contains("inside the value"), "{own}");
}

#[test]
fn deep_nesting_is_refused_without_a_deep_stack() {
    for deep in [
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        "- ".repeat(10_000),
        (0..10_000).map(|n| format!("{}a:\n", " ".repeat(n % 600))).collect::<Vec<_>>().concat(),
    ] {
        let problems = load(&deep).expect_err("deep");
        assert_eq!(problems.len(), 1, "{problems}");
    }
    let problems = load(&"[".repeat(10_000)).expect_err("deep");
    assert_eq!(problems.to_string(), "t.yaml:1:65: more than 64 levels deep");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let problems = load(&"# filler\n".repeat(500_000)).expect_err("large");
    assert_eq!(problems.to_string(), "t.yaml: this file is larger than 4 MiB");
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in any::<String>()) {
        let _ = load(&text);
    }

    #[test]
    fn no_soup_of_yaml_makes_the_loader_panic(text in "[-a-c0-9:{}\\[\\],&*!|>'\"%@`#? \n\t$~<]{0,80}") {
        let _ = load(&text);
    }
}
