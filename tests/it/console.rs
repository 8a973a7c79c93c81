//! The console: what is served, and in a real browser what an operator sees and does, in front of real gateways.

use crate::house::browser::Browser;
use crate::house::client::Request;
use crate::house::edge::Edge;
use crate::house::gateway::{Admin, RealGateway, TOKEN};
use crate::house::keys::{ACME, GLOBEX, VIEWER};
use crate::house::parts;
use crate::house::process::free_address;
use crate::house::site::Site;
use crate::mux::{BOSS, answered, requester};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// A gateway takes its time, and so does the edge to come back to it.
const START: Duration = Duration::from_mins(3);
const DESK: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

/// What a gateway may be told to say, and no page may take for more than text.
const SCRIPT: &str = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>";

fn site() -> Site {
    Site::new()
        .top("allow_literal_secrets: true")
        .top("sessions: { secret: \"a secret of the site's own, long enough\", allow_http: true }")
        .gateway_routes()
        .route("name: auth, path: /auth/**, sessions: true")
        .route("name: console, path: /console/**, public: true, console: true")
}

fn entry(id: &str, tenant: &str, name: &str, address: SocketAddr) -> String {
    format!("id: {id}, name: {}, tenant: {tenant}, url: \"ws://{address}\", token: \"{TOKEN}\"", json!(name))
}

/// An edge whose program has the page.
fn start(site: &Site) -> Option<Edge> {
    let edge = Edge::start(site);
    parts::console(edge.client().get("/console/").status == 200)?;
    Some(edge)
}

#[test]
fn the_page_is_small_guarded_and_calls_nobody_else() {
    let Some(edge) = start(&site()) else { return };
    let client = edge.client();
    let moved = client.get("/console").expect(308);
    assert_eq!(moved.field("location"), Some("/console/"));
    let page = client.get("/console/").expect(200);
    let policy = page.field("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.field("cache-control"), Some("no-cache"));

    let text = page.text();
    let assets = references(&text);
    assert!(assets.len() >= 3, "{text}");
    let inline = text.split("<script").skip(1).any(|tag| !tag.contains("src=\""));
    assert!(!inline && !text.contains("<style") && !text.contains(" on"), "{text}");
    let mut size = page.body.len();
    for asset in &assets {
        let path = format!("/console/{}", asset.trim_start_matches("./"));
        let asked = Request::get(&path).field("Accept-Encoding", "br");
        let packed = client.send(&asked).expect(200);
        size += packed.body.len();
        assert!(packed.field("cache-control").is_some_and(|told| told.contains("immutable")), "{packed:?}");
        let tag = packed.field("etag").expect("a tag").to_owned();
        client.send(&asked.field("If-None-Match", &tag)).expect(304);
        let plain = client.get(&path).expect(200).text();
        for scheme in ["http://", "https://", "ws://", "wss://"] {
            let places = plain.match_indices(scheme).map(|(at, _)| &plain[at..plain.len().min(at + 40)]);
            let foreign: Vec<&str> = places.filter(|place| !place.starts_with(NAMESPACE)).collect();
            assert!(foreign.is_empty(), "{path} names {foreign:?}");
        }
    }
    assert!(size < 150_000, "{size} bytes");
    client.get("/console/assets/other.js").expect(404);
    client.send(&Request::post("/console/", "{}")).expect(405);
}

/// Names of XML's, which nobody asks for anything.
const NAMESPACE: &str = "http://www.w3.org/";

/// What a page's tags refer to.
fn references(page: &str) -> Vec<String> {
    let behind = |name: &str| -> Vec<String> {
        let parts = page.split(name).skip(1);
        parts.filter_map(|part| part.split('"').next().map(str::to_owned)).collect()
    };
    [behind("src=\""), behind("href=\"")].concat()
}

#[test]
fn an_operator_sees_what_happens_and_nothing_of_another_tenant() {
    let Some(cache) = parts::gateway() else { return };
    let Some((program, axe)) = parts::browser() else { return };
    let (mut ceo, ops) = std::thread::scope(|scope| {
        let ops = scope.spawn(|| RealGateway::start(&cache));
        (RealGateway::start(&cache), ops.join().expect("a gateway"))
    });
    let site = site()
        .credential(&BOSS.entry())
        .limit("few", "by: credential, window: { limit: 3, per: 1h }")
        .upstream("nobody", free_address())
        .route("name: limited, path: /limited/**, limits: [few], upstream: nobody")
        .gateway_entry(&entry("ceo", "acme", "CEO (Mac mini)", ceo.address()))
        .gateway_entry(&entry("odd", "acme", SCRIPT, free_address()))
        .gateway_entry(&entry("ops", "globex", "Operations", ops.address()));
    let Some(edge) = start(&site) else { return };
    let mut desk = Desk::at(&program, &axe, &edge);

    a_wrong_key_is_told(&mut desk);
    desk.sign_in(ACME.text);
    gateways_are_listed(&mut desk);
    let mut admin = ceo.admin();
    work_is_seen(&mut desk, &mut admin);
    it_can_be_used_by_keys_alone(&mut desk);
    what_passes_is_counted(&mut desk, &edge);
    what_gateways_say_stays_text(&mut desk);
    drop(admin);
    a_gateway_goes_and_comes_back(&mut desk, &mut ceo);

    let mut other = Desk::at(&program, &axe, &edge);
    other.sign_in(GLOBEX.text);
    other.browser.shows("Operations");
    let text = other.text();
    assert!(!text.contains("CEO") && text.contains("globex") && !text.contains("acme"), "{text}");

    every_width_and_theme_is_fit_for_all(&mut desk);
    an_approval_is_decided(&program, &axe, &edge, ceo.address());
    signing_out_ends_it(&mut desk);
    other.is_clean();
    assert!(!edge.all_output().contains(ACME.text), "a key is in the log");
}

/// A browser in front of an edge.
struct Desk {
    browser: Browser,
    axe: String,
    origin: String,
}

impl Desk {
    fn at(program: &Path, axe: &Path, edge: &Edge) -> Self {
        let mut browser = Browser::start(program, DESK);
        let origin = format!("http://{}", edge.address());
        browser.prefer("light");
        browser.open(&format!("{origin}/console"));
        let axe = std::fs::read_to_string(axe).expect("axe can be read");
        Self { browser, axe, origin }
    }

    fn sign_in(&mut self, key: &str) {
        self.browser.until("the form", "document.querySelector('#secret')");
        self.browser.eval("document.querySelector('#secret').focus()");
        self.browser.eval("document.querySelector('#secret').select()");
        self.browser.type_in(key);
        self.browser.press("Enter");
        self.browser.until("the views", "document.querySelector('nav a')");
        self.browser.within(
            "what is live",
            "document.querySelector('.who')?.innerText.includes('live')",
            START,
        );
    }

    /// Goes to a view.
    fn go(&mut self, view: &str) {
        self.browser.click("nav a", view);
        let heading = format!("document.querySelector('h1')?.textContent === {}", json!(view));
        self.browser.until(view, &heading);
    }

    fn text(&mut self) -> String {
        self.browser.eval("document.body.innerText").as_str().expect("a text").to_owned()
    }

    /// Asks axe, which finds nothing to complain of.
    fn fits_all(&mut self, what: &str) {
        // By the protocol and not on the page, whose policy would not let it in.
        self.browser.eval(&format!("if (!window.axe) {{ {} ; }} 0", self.axe));
        let found = self.browser.eval("axe.run().then((told) => told.violations)");
        assert_eq!(found, json!([]), "{what}: {found:#}");
    }

    /// Keeps a picture for docs/, where `OPENCLAW_EDGE_PICTURES` names the folder.
    fn picture(&mut self, name: &str) {
        let picture = self.browser.picture();
        assert!(picture.starts_with(b"\x89PNG"), "{name}");
        if let Some(folder) = std::env::var_os("OPENCLAW_EDGE_PICTURES") {
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture)
                .expect("a file can be written");
        }
    }

    /// No script has failed, nothing was forbidden, nobody else was asked.
    fn is_clean(&mut self) {
        assert_eq!(self.browser.complaints(), [] as [String; 0]);
        let socket = self.origin.replace("http://", "ws://");
        for url in self.browser.asked() {
            let is_own = url.starts_with(&self.origin) || url.starts_with(&socket) || url == "about:blank";
            assert!(is_own || url.starts_with(&format!("blob:{}", self.origin)), "the page asked for {url}");
        }
    }
}

fn a_wrong_key_is_told(desk: &mut Desk) {
    desk.browser.until("the form", "document.querySelector('#secret')");
    desk.fits_all("signing in");
    desk.picture("sign-in");
    desk.browser.eval("document.querySelector('#secret').focus()");
    desk.browser.type_in("no key of anyone");
    desk.browser.press("Enter");
    desk.browser.shows("The edge does not take this key.");
}

fn gateways_are_listed(desk: &mut Desk) {
    let state = "[...document.querySelectorAll('.body .row')].find((row) => row.innerText.includes('CEO'))?.innerText";
    desk.browser.within("a gateway's state", &format!("({state} ?? '').includes('connected')"), START);
    let text = desk.text();
    assert!(text.contains("2026.9.6") && text.contains("acme") && !text.contains("Operations"), "{text}");
    desk.browser.click(".body .row", "CEO");
    desk.browser.until("the drawer", "document.querySelector('dialog[open]')?.innerText.includes('main')");
    desk.fits_all("a gateway");
    desk.picture("gateway");
    desk.browser.press("Escape");
    desk.browser.until("the drawer's end", "!document.querySelector('dialog')");
}

/// A job whose name, output and error would run if they were taken for HTML.
fn work_is_seen(desk: &mut Desk, admin: &mut Admin) {
    desk.go("Tasks");
    desk.browser.shows("No gateway has told of a task yet.");
    let job = |name: &str, script: &str| {
        json!({"name": name, "enabled": true, "schedule": {"kind": "every", "everyMs": 3_600_000},
            "sessionTarget": "isolated", "wakeMode": "now", "delivery": {"mode": "none"},
            "payload": {"kind": "command", "argv": ["/bin/sh", "-c", script], "timeoutSeconds": 20}})
    };
    for (name, script) in [("echo-job", "echo hello from job"), (SCRIPT, "echo '<img src=x>' >&2; exit 3")] {
        let added = admin.call("cron.add", &job(name, script));
        let id = added["job"]["id"].as_str().or(added["id"].as_str()).expect("a job has an id").to_owned();
        admin.call("cron.run", &json!({"id": id, "mode": "force"}));
    }
    let ended = "document.body.innerText.includes('completed') && document.body.innerText.includes('failed')";
    desk.browser.within("the tasks' ends", ended, START);
    desk.browser.shows("hello from job");
    desk.fits_all("tasks");
    desk.picture("tasks");
    desk.go("Jobs");
    desk.browser.click(".body .row", "echo-job");
    desk.browser
        .until("its runs", "document.querySelector('dialog li')?.innerText.includes('hello from job')");
    desk.browser.press("Escape");
    desk.fits_all("jobs");
    desk.go("Events");
    desk.browser.shows("echo-job");
    desk.fits_all("events");
}

fn it_can_be_used_by_keys_alone(desk: &mut Desk) {
    desk.go("Tasks");
    desk.browser.eval("document.querySelector('input[type=search]').focus()");
    desk.browser.type_in("echo");
    desk.browser.until("one row", "document.querySelectorAll('.body .row').length === 1");
    let in_grid = "document.activeElement?.getAttribute('role') === 'grid'";
    for _ in 0..20 {
        if desk.browser.eval(in_grid) == true {
            break;
        }
        desk.browser.press("Tab");
    }
    desk.browser.until("the table's focus", in_grid);
    desk.browser.press("ArrowDown");
    desk.browser.press("Enter");
    desk.browser
        .until("the drawer", "document.querySelector('dialog[open]')?.innerText.includes('echo-job')");
    desk.browser.press("Escape");
    desk.browser.until("the focus, back", in_grid);
}

/// Six requests: three fail, as nobody is there, and three are too many.
fn what_passes_is_counted(desk: &mut Desk, edge: &Edge) {
    desk.go("Traffic");
    desk.browser.shows("mission-control");
    let mut last = None;
    for status in [502, 502, 502, 429, 429, 429] {
        let answer = edge.caller(ACME).get("/limited/x").expect(status);
        last = answer.field("x-request-id").map(str::to_owned);
    }
    let last = last.expect("an id");
    let row = "[...document.querySelectorAll('section[aria-label=routes] .body .row')]\
        .find((row) => row.innerText.includes('limited'))?.innerText.split(/\\s+/).join(' ') ?? ''";
    desk.browser.until("the route's count", &format!("({row}).startsWith('limited 6 0.10 3 3')"));
    for (part, name, count) in
        [("refusals", "limit_exceeded", 3), ("limits", "few", 3), ("refusals", "upstream_unreachable", 3)]
    {
        let row = format!(
            "[...document.querySelectorAll('section[aria-label={part}] .body .row')].find((row) => row.innerText.includes('{name}'))"
        );
        desk.browser.until(name, &format!("({row})?.innerText.trim().endsWith('{count}')"));
    }
    desk.browser.click(".spans label", "last day");
    desk.browser.until("the day", &format!("({row}).startsWith('limited 6 0.00 3 3')"));
    desk.fits_all("traffic");
    desk.picture("traffic");
    it_says_why(desk, &last);
    // Another tenant has seen nothing of it.
    let other = edge.caller(GLOBEX).get("/api/refusals").expect(200).json();
    assert_eq!(other["refusals"], json!([]));
    let other = edge.caller(GLOBEX).get("/api/credentials").expect(200).text();
    assert!(other.contains("globex-ops") && !other.contains("acme"), "{other}");
    let other = edge.caller(GLOBEX).get("/api/traffic").expect(200).json();
    assert!(other["routes"]["limited"].is_null() && other["limits"] == json!({}), "{other}");
}

/// A request's id, put into the search, leads to what was decided and by which limit.
fn it_says_why(desk: &mut Desk, id: &str) {
    desk.go("Refused");
    desk.browser.until("the refusals", "document.querySelectorAll('.body .row').length >= 6");
    desk.browser.eval("document.querySelector('input[type=search]').focus()");
    desk.browser.type_in(id);
    desk.browser.until("one row", "document.querySelectorAll('.body .row').length === 1");
    desk.browser.click(".body .row", "limit_exceeded");
    for text in ["429 Too many requests", "/limited/x", "acme-ceo", "refused few"] {
        let shown = format!(
            "document.querySelector('dialog[open]')?.innerText.replace(/\\s+/g, ' ').includes({})",
            json!(text)
        );
        desk.browser.until(text, &shown);
    }
    desk.fits_all("a refusal");
    desk.picture("refusal");
    desk.browser.press("Escape");
    desk.go("Credentials");
    desk.browser.shows("acme-reader");
    desk.browser.until("an end", "document.body.innerText.includes('ended')");
    desk.fits_all("credentials");
}

/// What is asked is shown, the decision goes to the gateway, and who made it is written down.
fn an_approval_is_decided(program: &Path, axe: &Path, edge: &Edge, gateway: SocketAddr) {
    let mut desk = Desk::at(program, axe, edge);
    desk.sign_in(BOSS.text);
    desk.go("Approvals");
    desk.browser.shows("Nothing waits for a decision.");
    let mut agent = requester(gateway);
    assert_eq!(answered(&mut agent, "c")["ok"], true);
    let mut ask = |id: &str, command: &str| {
        let request = json!({"type": "req", "id": id, "method": "exec.approval.request", "params": {
            "command": command, "cwd": "/tmp", "host": "gateway", "security": "allowlist", "ask": "always",
            "timeoutMs": 60_000}});
        agent.send(Message::text(request.to_string())).expect("the socket is open");
    };
    ask("a", "rm -rf /tmp/x && echo '<img src=x>'");
    desk.browser.shows("rm -rf /tmp/x && echo '<img src=x>'");
    desk.browser.until("its number", "document.querySelector('nav').innerText.includes('Approvals (1)')");
    desk.fits_all("an approval");
    desk.picture("approval");
    desk.browser.click("button", "Deny");
    desk.browser.shows("Nothing waits for a decision.");
    ask("b", "echo fine");
    desk.browser.shows("echo fine");
    desk.browser.click("button", "Approve once");
    desk.browser.shows("Nothing waits for a decision.");
    for (id, decision) in [("a", "deny"), ("b", "allow-once")] {
        assert_eq!(answered(&mut agent, id)["payload"]["decision"], decision);
    }
    let audit = edge.config().parent().expect("a folder").join("data/audit/acme.ndjson");
    let text = std::fs::read_to_string(audit).expect("an audit log");
    assert!(text.contains("\"allow-once\"") && text.contains("acme-boss"), "{text}");
    desk.is_clean();
}

fn what_gateways_say_stays_text(desk: &mut Desk) {
    for view in ["Gateways", "Tasks", "Jobs", "Events"] {
        desk.go(view);
        desk.browser.shows("<img src=x onerror=");
        assert_eq!(
            desk.browser.eval("document.querySelectorAll('#page img, #page script').length"),
            0,
            "{view}"
        );
    }
    desk.go("Tasks");
    desk.browser.click(".body .row", "<img");
    desk.browser.until("the drawer", "document.querySelector('dialog[open]')?.innerText.includes('<img')");
    desk.browser.press("Escape");
    assert_eq!(desk.browser.eval("document.title"), "OpenClaw Edge");
}

fn a_gateway_goes_and_comes_back(desk: &mut Desk, gateway: &mut RealGateway) {
    desk.go("Gateways");
    let state = "[...document.querySelectorAll('.body .row')].find((row) => row.innerText.includes('CEO'))?.innerText ?? ''";
    gateway.stop();
    desk.browser.within("its going", &format!("({state}).includes('away')"), START);
    desk.picture("gateways");
    gateway.again();
    desk.browser.within("its coming back", &format!("({state}).includes('connected')"), START);
}

fn every_width_and_theme_is_fit_for_all(desk: &mut Desk) {
    for (scheme, (width, height)) in [("dark", DESK), ("light", PHONE), ("dark", PHONE)] {
        desk.browser.prefer(scheme);
        desk.browser.resize(width, height);
        for view in ["Gateways", "Tasks", "Jobs", "Approvals", "Traffic", "Refused", "Credentials", "Events"]
        {
            desk.go(view);
            desk.fits_all(&format!("{view}, {scheme}, {width} wide"));
            let overflow = "document.documentElement.scrollWidth > innerWidth";
            assert_eq!(desk.browser.eval(overflow), false, "{view} is wider than {width}");
        }
        desk.go("Tasks");
        desk.picture(&format!("tasks-{scheme}-{width}"));
    }
    desk.browser.resize(DESK.0, DESK.1);
}

fn signing_out_ends_it(desk: &mut Desk) {
    desk.browser.click("button", "Sign out");
    desk.browser.until("the form", "document.querySelector('#secret')");
    let status: Value = desk.browser.eval("fetch('/api/gateways').then((answer) => answer.status)");
    assert_eq!(status, 401);
    assert!(!desk.text().contains("CEO"), "what was shown stays");
    desk.is_clean();
}

#[test]
fn a_thousand_gateways_are_as_few_rows_as_are_in_sight() {
    let Some((program, axe)) = parts::browser() else { return };
    let nobody = free_address();
    let all = (0..1000).fold(site(), |site, number| {
        site.gateway_entry(&entry(&format!("g{number:03}"), "acme", &format!("Number {number:03}"), nobody))
    });
    let Some(edge) = start(&all) else { return };
    let mut desk = Desk::at(&program, &axe, &edge);
    desk.sign_in(VIEWER.text);
    let rows = "document.querySelectorAll('.body .row').length";
    desk.browser.shows("Number 000");
    assert!(
        desk.browser.eval(rows).as_u64().is_some_and(|rows| (10..80).contains(&rows)),
        "all rows are there"
    );
    assert_eq!(
        desk.browser.eval("document.querySelector('[role=grid]').getAttribute('aria-rowcount')"),
        "1001"
    );
    desk.browser.eval("document.querySelector('[role=grid]').focus()");
    desk.browser.press("End");
    desk.browser.shows("Number 999");
    assert!(
        desk.browser.eval(rows).as_u64().is_some_and(|rows| (10..80).contains(&rows)),
        "all rows are there"
    );
    desk.browser.eval("document.querySelector('input[type=search]').focus()");
    desk.browser.type_in("number 123");
    desk.browser.until("one row", "document.querySelector('.count').textContent === '1 of 1000'");
    desk.is_clean();

    // Another tenant has none, and is told where they would be.
    let mut other = Desk::at(&program, &axe, &edge);
    other.sign_in(GLOBEX.text);
    other.browser.shows("Your tenant has no gateways yet.");
    other.fits_all("no gateways");
    other.is_clean();
}
