//! TLS from outside: which certificate, which versions, what a reload changes, and that everything that holds for plain
//! HTTP holds over it, heads and sockets too.

use crate::house::client::{Client, Request};
use crate::house::double::{Double, Reply};
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::parts::program;
use crate::house::pki::{Files, Pki};
use crate::house::process::{free_address, run_edge};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, closed, open};
use crate::house::temp::Temp;
use crate::house::tls::{BOTH, Tunnel, client, closes_on_silence, shake_hands};
use crate::house::wait::{SOON, until};
use crate::strict;
use rcgen::date_time_ymd;
use rustls::ProtocolVersion;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_tungstenite::tungstenite::Message;

/// One more socket, over TLS.
fn with_tls(site: Site, socket: SocketAddr, certificates: &[&Files], more: &str) -> Site {
    let certificates: Vec<String> = certificates.iter().map(|files| files.entry()).collect();
    let certificates = certificates.join(", ");
    site.listen(&format!("address: \"{socket}\", tls: {{ certificates: [{certificates}]{more} }}"))
}

/// An edge with a socket over TLS for `edge.test`, and a tunnel to that.
fn over_tls(site: Site) -> (Edge, Tunnel, Pki) {
    let (pki, socket) = (Pki::new(), free_address());
    let files = pki.server("edge", &["edge.test"]);
    let edge = Edge::start(&with_tls(site, socket, &[&files], ""));
    let tunnel = Tunnel::to(socket, client(&pki.roots(), BOTH), "edge.test");
    (edge, tunnel, pki)
}

#[test]
fn each_name_has_its_certificate_and_all_others_the_first() {
    let (pki, socket) = (Pki::new(), free_address());
    let first = pki.server("first", &["first.test", "127.0.0.1"]);
    let below = pki.server("below", &["*.below.test", "below.test"]);
    let upstream = Double::mirror();
    let edge = Edge::start(&with_tls(Site::open(&upstream), socket, &[&first, &below], ""));
    let client = client(&pki.roots(), BOTH);
    let shown = |name: &str| shake_hands(socket, &client, name).map(|shaken| shaken.certificate);
    for (name, files) in [
        ("first.test", &first),
        ("below.test", &below),
        ("a.below.test", &below),
        ("A.Below.test", &below),
        // No name is sent for an address.
        ("127.0.0.1", &first),
    ] {
        assert_eq!(shown(name).expect(name), files.der, "{name}");
    }
    // They are shown the first, which is not theirs: the client does not take it.
    for name in ["a.b.below.test", "other.test"] {
        assert!(shown(name).is_err(), "{name}");
    }
    let stranger = crate::house::tls::client(&Pki::new().roots(), BOTH);
    assert!(
        shake_hands(socket, &stranger, "first.test").is_err(),
        "an authority that nobody named is believed"
    );
    until("the count", SOON, || {
        let count = |result| edge.metrics().sum("openclaw_edge_tls_handshakes_total", &[("result", result)]);
        (count("done") > 4.5 && count("client_alert") > 2.5).then_some(())
    });
}

#[test]
fn new_versions_are_spoken_and_old_ones_refused() {
    let Some(openssl) = program("openssl") else { return };
    let (pki, both, newest) = (Pki::new(), free_address(), free_address());
    let files = pki.server("edge", &["edge.test"]);
    let upstream = Double::mirror();
    let site = with_tls(Site::open(&upstream), both, &[&files], "");
    let edge = Edge::start(&with_tls(site, newest, &[&files], ", min_version: tls1.3"));
    let only = |version| client(&pki.roots(), &[version]);
    let (old, new) = (only(&rustls::version::TLS12), only(&rustls::version::TLS13));
    let spoken = |to, client| shake_hands(to, client, "edge.test").map(|shaken| shaken.version);
    assert_eq!(spoken(both, &old).unwrap(), ProtocolVersion::TLSv1_2);
    assert_eq!(spoken(both, &new).unwrap(), ProtocolVersion::TLSv1_3);
    assert_eq!(spoken(newest, &new).unwrap(), ProtocolVersion::TLSv1_3);
    assert!(spoken(newest, &old).is_err());
    let openssl = |args: &[&str]| {
        let mut command = Command::new(&openssl);
        command.args(["s_client", "-connect", &both.to_string(), "-servername", "edge.test"]).args(args);
        command.stdin(Stdio::null()).output().expect("openssl starts").status.success()
    };
    assert!(openssl(&["-tls1_2"]), "openssl does not get in at all");
    for old in [
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        // No forward secrecy; no authenticated cipher; a broken one.
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
        &["-tls1_2", "-cipher", "3DES:@SECLEVEL=0"],
    ] {
        assert!(!openssl(old), "{old:?}");
    }
    until("the count", SOON, || {
        let labels = &[("result", "incompatible")];
        (edge.metrics().sum("openclaw_edge_tls_handshakes_total", labels) > 2.5).then_some(())
    });
}

#[test]
fn http_2_is_offered_unless_it_is_turned_off() {
    let (pki, with, without) = (Pki::new(), free_address(), free_address());
    let files = pki.server("edge", &["edge.test"]);
    let upstream = Double::mirror();
    let site = with_tls(Site::open(&upstream), with, &[&files], "");
    let _edge = Edge::start(&with_tls(site, without, &[&files], ", http2: false"));
    let offering = |protocols: &[&str]| {
        let mut client = client(&pki.roots(), BOTH);
        client.alpn_protocols = protocols.iter().map(|one| one.as_bytes().to_vec()).collect();
        client
    };
    let picked = |to, protocols: &[&str]| {
        shake_hands(to, &offering(protocols), "edge.test").ok().and_then(|shaken| shaken.alpn)
    };
    assert_eq!(picked(with, &["http/1.1", "h2"]), Some(b"h2".to_vec()));
    assert_eq!(picked(with, &["http/1.1"]), Some(b"http/1.1".to_vec()));
    assert_eq!(picked(without, &["http/1.1", "h2"]), Some(b"http/1.1".to_vec()));
    assert_eq!(picked(with, &[]), None);
}

#[test]
fn a_replaced_certificate_is_served_at_once_and_open_connections_stay() {
    let (pki, socket) = (Pki::new(), free_address());
    let old = pki.server("edge", &["edge.test"]);
    let upstream = Double::mirror();
    let edge = Edge::start(&with_tls(Site::open(&upstream), socket, &[&old], ""));
    let trusted = client(&pki.roots(), BOTH);
    let tunnel = Tunnel::to(socket, trusted.clone(), "edge.test");
    let mut connection = Client::new(tunnel.address()).connection();
    connection.send(&Request::get("/before")).expect(200);
    let new = pki.server("edge", &["edge.test"]);
    assert_ne!(old.der, new.der);
    // Nobody tells the edge: it looks at its files.
    until("the new certificate", SOON, || {
        let shown = shake_hands(socket, &trusted, "edge.test").expect("someone is served all the time");
        (shown.certificate == new.der).then_some(())
    });
    connection.send(&Request::get("/after")).expect(200);
    assert!(edge.reloads("applied") > 0.5);
}

#[test]
fn a_bad_file_leaves_the_old_certificate_serving_and_says_why() {
    let (pki, socket) = (Pki::new(), free_address());
    let files = pki.server("edge", &["edge.test"]);
    let upstream = Double::mirror();
    let edge = Edge::start(&with_tls(Site::open(&upstream), socket, &[&files], ""));
    let trusted = client(&pki.roots(), BOTH);
    let other = pki.server("other", &["edge.test"]);
    for (at, text) in [std::fs::read(&other.key).unwrap(), b"no key at all".to_vec()].iter().enumerate() {
        let before = edge.reloads("refused");
        std::fs::write(&files.key, text).unwrap();
        until("the refusal", SOON, || (edge.reloads("refused") > before).then_some(()));
        let shown = shake_hands(socket, &trusted, "edge.test").unwrap();
        assert_eq!(shown.certificate, files.der, "{at}");
        assert!(edge.metrics().sum("openclaw_edge_config_stale", &[]) > 0.5, "{at}");
    }
    edge.logged("edge.yaml:1:");
    edge.logged("does not belong to the certificate");
    let good = pki.server("edge", &["edge.test"]);
    until("the good one", SOON, || {
        (shake_hands(socket, &trusted, "edge.test").unwrap().certificate == good.der).then_some(())
    });
}

#[test]
fn a_certificate_that_ended_while_it_served_does_not_hold_up_a_reload() {
    let (pki, socket) = (Pki::new(), free_address());
    let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(6);
    let short =
        pki.made("edge", &["edge.test"], |params| params.not_after = date_time_ymd(1970, 1, 1) + ends);
    let upstream = Double::mirror();
    let site = with_tls(Site::open(&upstream), socket, &[&short], "");
    let edge = Edge::start(&site);
    let said = until("its end", SOON, || {
        let config = edge.config().display().to_string();
        let check = run_edge(&["check", "--config", &config]);
        (!check.status.success()).then(|| String::from_utf8_lossy(&check.stderr).into_owned())
    });
    assert!(said.contains("this certificate ended"), "{said}");
    edge.reload(&site.clone().route("name: new, path: /new, public: true, upstream: all"));
    // Another one that has ended is no better than none.
    let before = edge.reloads("refused");
    pki.made("edge", &["edge.test"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    until("the refusal", SOON, || (edge.reloads("refused") > before).then_some(()));
    drop(upstream);
}

#[test]
fn a_bad_certificate_refuses_to_start_with_its_place() {
    let pki = Pki::new();
    let good = pki.server("good", &["edge.test"]);
    let other = pki.server("other", &["edge.test"]);
    let ended = pki.made("ended", &["a"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let coming = pki.made("coming", &["a"], |params| params.not_before = date_time_ymd(2999, 1, 1));
    let folder = Temp::new();
    let open = folder.write("open.key", std::fs::read(&good.key).unwrap());
    let nothing = folder.write("nothing.pem", "nothing at all");
    let disorder = folder.write(
        "disorder.pem",
        [std::fs::read(&good.chain).unwrap(), std::fs::read(&other.chain).unwrap()].concat(),
    );
    let swap = |chain: &std::path::Path, key: &std::path::Path| Files {
        chain: chain.to_owned(),
        key: key.to_owned(),
        der: good.der.clone(),
    };
    let mut cases = vec![
        (swap(&good.chain, &other.key), "this key does not belong to the certificate", "belong together"),
        (ended, "this certificate ended on 2020-01-01", "put the new one in its place"),
        (coming, "this certificate begins on 2999-01-01", "clock"),
        (swap(&good.chain, &open), "can be read by others than its owner", "chmod 600"),
        (swap(&nothing, &good.key), "no certificate in PEM", "BEGIN CERTIFICATE"),
        (swap(&good.chain, &good.chain), "this is no private key in PEM", "PKCS#8"),
        (swap(&folder.path().join("gone.pem"), &good.key), "it is not there", ""),
        (swap(&disorder, &good.key), "certificate 2 of this file did not sign the one before it", "first"),
    ];
    if let Some(openssl) = program("openssl") {
        let make = |args: &str| {
            let mut command = Command::new(&openssl);
            command.args(args.split(' ')).current_dir(folder.path());
            assert!(command.output().expect("openssl starts").status.success(), "{args}");
        };
        let req = "req -x509 -nodes -days 2 -subj /CN=a -addext subjectAltName=DNS:a -newkey";
        make(&format!("{req} rsa:1024 -keyout weak.key -out weak.pem"));
        make(&format!("{req} rsa:2048 -sha1 -keyout sha1.key -out sha1.pem"));
        let made = |name: &str| {
            swap(&folder.path().join(format!("{name}.pem")), &folder.path().join(format!("{name}.key")))
        };
        cases.push((made("weak"), "this certificate's key is weak: RSA of 1024 bits", "at least 2048"));
        cases.push((made("sha1"), "signed over MD5 or SHA-1", "SHA-256"));
    }
    let upstream = Double::mirror();
    for (files, message, hint) in cases {
        let site = with_tls(Site::open(&upstream), free_address(), &[&files], "");
        let text = site.text(free_address(), free_address(), "/nowhere");
        let config = folder.write("edge.yaml", text);
        let output = run_edge(&["check", "--config", &config.display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{message}");
        let line = said.lines().find(|line| line.contains(message));
        assert!(line.is_some_and(|line| line.contains("edge.yaml:1:")), "{message}: {said}");
        assert!(said.contains(hint) && !said.contains("PRIVATE KEY-----\nM"), "{message}: {said}");
    }
}

#[test]
fn heads_are_guarded_as_they_are_without_tls() {
    let upstream = Double::mirror();
    let (_edge, tunnel, _pki) = over_tls(Site::open(&upstream));
    let client = Client::new(tunnel.address());
    strict::bodies_in_doubt(&client);
    strict::malformed_heads(&client);
    upstream.untouched();
    let mut connection = client.connection();
    for at in 0..3 {
        let answer = connection.send(&Request::post(&format!("/{at}"), "{}"));
        assert_eq!(answer.expect(200).json()["bytes"], 2);
    }
}

#[test]
fn a_large_body_goes_both_ways() {
    let upstream = Double::start(|seen| Reply::text(200, seen.body.clone()));
    let (_edge, tunnel, _pki) = over_tls(Site::open(&upstream));
    let body: Vec<u8> = (0..900_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let answer = Client::new(tunnel.address()).send(&Request::post("/echo", &body));
    assert!(answer.expect(200).body == body);
}

#[test]
fn sockets_run_over_tls() {
    let gateway = EchoGateway::start();
    let (edge, tunnel, _pki) =
        over_tls(Site::new().gateway("ceo", "acme", gateway.address()).gateway_routes());
    let key = &[("X-API-Key", ACME.text)];
    let mut socket = open(tunnel.address(), "/gateways/ceo", key).expect("an open socket");
    for text in ["", "grüße 😀", &"x".repeat(70_000)] {
        assert_eq!(ask(&mut socket, text), text);
    }
    socket.send(Message::binary(vec![7; 1 << 20])).unwrap();
    assert_eq!(socket.read().unwrap(), Message::binary(vec![7; 1 << 20]));
    socket.send(Message::text("close 4001 enough")).unwrap();
    assert_eq!(closed(&mut socket), (4001, "enough".to_owned()));
    open(tunnel.address(), "/gateways/ceo", &[]).expect_err("a key is needed").refused(401, "unauthorized");
    // The way down is told over TLS as well.
    let mut socket = open(tunnel.address(), "/gateways/ceo", key).expect("an open socket");
    assert_eq!(ask(&mut socket, "still there"), "still there");
    edge.sigterm();
    assert_eq!(closed(&mut socket).0, 1012);
}

#[test]
fn upstreams_are_told_of_https_and_browsers_to_keep_to_it() {
    let (pki, socket) = (Pki::new(), free_address());
    let files = pki.server("edge", &["edge.test"]);
    let upstream = Double::start(|seen| {
        let proto = seen.field("x-forwarded-proto").unwrap_or_default().to_owned();
        Reply::text(200, proto).field("strict-transport-security", "max-age=1")
    });
    let hsts = ", hsts: { max_age: 365d, include_subdomains: true }";
    let edge = Edge::start(&with_tls(Site::open(&upstream), socket, &[&files], hsts));
    let tunnel = Tunnel::to(socket, client(&pki.roots(), BOTH), "edge.test");
    let secure = Client::new(tunnel.address());
    let keeps =
        |answer: &crate::house::client::Answer| answer.field("strict-transport-security").map(str::to_owned);
    let want = Some("max-age=31536000; includeSubDomains".to_owned());
    let forged = Request::get("/x").field("X-Forwarded-Proto", "http");
    let answer = secure.send(&forged).expect(200);
    assert_eq!((answer.text().as_str(), keeps(&answer)), ("https", want.clone()));
    // Also where the edge itself answers, before and after there is a session.
    let refused = secure.get("/a//b").refused(400, "path_empty_segment");
    assert_eq!(keeps(&refused), want);
    let raw = secure.raw(b"GET /x HTTP/9\r\n\r\n");
    assert_eq!(keeps(&raw.answers[0]), want);
    // A connection that was refused is answered early; that answer says it too.
    let mut connection = secure.connection();
    for _ in 0..2 {
        assert_eq!(keeps(&connection.send(&Request::get("/a//b")).refused(400, "path_empty_segment")), want);
    }
    let plain = edge.send(&Request::get("/x").field("X-Forwarded-Proto", "https")).expect(200);
    assert_eq!((plain.text().as_str(), keeps(&plain)), ("http", Some("max-age=1".to_owned())));
}

#[test]
fn who_comes_in_the_clear_is_sent_to_https() {
    let upstream = Double::mirror();
    let socket = free_address();
    let site = Site::open(&upstream).listen(&format!("address: \"{socket}\", redirect_to_https: 8443"));
    let edge = Edge::start(&site);
    let client = Client::new(socket);
    let get = Request::get("/a/b?c=d").field("Host", "edge.test:8080");
    let mut connection = client.connection();
    for _ in 0..2 {
        let answer = connection.send(&get).expect(308);
        assert_eq!(answer.field("location"), Some("https://edge.test:8443/a/b?c=d"));
    }
    client.send(&Request::post("/a", "{}")).refused(403, "https_required");
    strict::malformed_heads(&client);
    upstream.untouched();
    edge.send(&Request::get("/plain")).expect(200);
}

#[test]
fn what_goes_wrong_in_handshakes_is_counted_and_costs_no_patience() {
    let (pki, socket) = (Pki::new(), free_address());
    let files = pki.server("edge", &["edge.test"]);
    let upstream = Double::mirror();
    let site = Site::open(&upstream).top("head: { timeout: 500ms }");
    let edge = Edge::start(&with_tls(site, socket, &[&files], ""));
    assert!(closes_on_silence(socket));
    let mut plain = std::net::TcpStream::connect(socket).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).unwrap();
    assert!(answer.len() < 16, "an alert at most: {answer:?}");
    until("the count", SOON, || {
        let count = |result| edge.metrics().sum("openclaw_edge_tls_handshakes_total", &[("result", result)]);
        (count("timed_out") > 0.5 && count("not_tls") > 0.5).then_some(())
    });
    let labels = &[("certificate", &*files.chain.display().to_string())];
    let ends = edge.metrics().sum("openclaw_edge_tls_certificate_expiry_timestamp_seconds", labels);
    assert!(ends > 4.0e9, "{ends}");
}
