//! Callers who are known by their certificates: whose they are, and what ends that.

use crate::house::client::{Client, Request};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, hex_of};
use crate::house::pki::{Files, Pki};
use crate::house::process::{free_address, run_edge};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, closed, open};
use crate::house::temp::Temp;
use crate::house::tls::{BOTH, Streams, Tunnel, client, holder, request, shake_hands};
use crate::house::wait::{SOON, until};
use rcgen::SanType;
use std::net::SocketAddr;

/// A client's certificate with a URI and a DNS name.
fn certificate(pki: &Pki, file: &str, uri: &str, dns: &str) -> Files {
    pki.made(file, &[dns], |params| {
        params.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
    })
}

/// A socket that asks for certificates.
fn asking(site: Site, pki: &Pki, socket: SocketAddr, more: &str) -> Site {
    let own = pki.server("edge", &["edge.test"]).entry();
    let asked = format!("client_certificates: {{ ca: \"{}\"{more} }}", pki.file().display());
    site.listen(&format!("address: \"{socket}\", tls: {{ certificates: [{own}], {asked} }}"))
}

#[test]
fn a_certificate_says_whose_request_it_is() {
    let (pki, socket) = (Pki::new(), free_address());
    let by_uri = certificate(&pki, "uri", "spiffe://mesh.test/ceo", "unused.test");
    let by_name = certificate(&pki, "name", "spiffe://mesh.test/other", "Agent.Globex.test");
    let by_print = pki.server("print", &[]);
    let nobodys = certificate(&pki, "nobody", "spiffe://mesh.test/nobody", "nobody.test");
    let both = certificate(&pki, "both", "spiffe://mesh.test/ceo", "agent.globex.test");
    let print = hex_of(&by_print.der);
    let upstream = Double::mirror();
    let site = asking(Site::keyed(&upstream), &pki, socket, "")
        .credential("id: ceo, tenant: acme, node: ceo, certificate: { uri: \"spiffe://mesh.test/ceo\" }")
        .credential("id: agent, tenant: globex, certificate: { dns: agent.globex.test }")
        .credential(&format!(
            "id: print, tenant: globex, certificate: {{ fingerprint: \"sha256:{print}\" }}"
        ));
    let edge = Edge::start(&site);
    let over = |files: &Files| Tunnel::to(socket, holder(&pki.roots(), files), "edge.test");
    for (files, tenant, credential) in
        [(&by_uri, "acme", "ceo"), (&by_name, "globex", "agent"), (&by_print, "globex", "print")]
    {
        let tunnel = over(files);
        let forged = Request::get("/x").field("Client-Cert", ":forged:").field("X-SSL-Client-S-DN", "forged");
        let answer = Client::new(tunnel.address()).send(&forged).expect(200);
        assert_eq!(answer.json()["tenant"], tenant);
        assert_eq!(edge.log_line(&answer)["credential"], credential);
        let seen = upstream.only();
        assert_eq!((seen.field("client-cert"), seen.field("x-ssl-client-s-dn")), (None, None));
        upstream.forget();
        let mut streams = Streams::open(socket, &holder(&pki.roots(), files), "edge.test");
        let answer = streams.send(request("GET", "edge.test", "/x", &[]), None).expect(200);
        assert_eq!(answer.json()["tenant"], tenant);
        upstream.forget();
    }
    for (files, detail) in [(&nobodys, "the credential is not known"), (&both, "several credentials")] {
        let tunnel = over(files);
        let refused = Client::new(tunnel.address()).get("/x").refused(401, "unauthorized");
        let line = edge.log_line(&refused);
        assert!(line["detail"].as_str().is_some_and(|told| told.contains(detail)), "{line}");
    }
    // A key is meant where one is sent, and a wrong one does not fall back on the certificate.
    let tunnel = over(&by_uri);
    let with = |key: &str| Client::new(tunnel.address()).with("X-API-Key", key).get("/x");
    assert_eq!(with(GLOBEX.text).expect(200).json()["tenant"], "globex");
    with("oce_no-key-of-anybody-0123456789").refused(401, "unauthorized");
    // Without TLS there is no certificate, whatever a field says.
    edge.send(&Request::get("/x").field("Client-Cert", ":forged:")).refused(401, "unauthorized");
}

#[test]
fn who_shows_none_or_a_strangers_is_turned_away_at_the_door() {
    let (pki, strict, lenient) = (Pki::new(), free_address(), free_address());
    let own = pki.server("client", &["client.test"]);
    let other = Pki::new();
    let strangers = other.server("client", &["client.test"]);
    let ended =
        pki.made("ended", &["client.test"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let upstream = Double::mirror();
    let site =
        Site::keyed(&upstream).credential("id: client, tenant: acme, certificate: { dns: client.test }");
    let site = asking(asking(site, &pki, strict, ""), &pki, lenient, ", required: false");
    let edge = Edge::start(&site);
    let gets_in = |socket, tls| {
        let tunnel = Tunnel::to(socket, tls, "edge.test");
        Client::new(tunnel.address()).try_send(&Request::get("/x")).map(|answer| answer.status)
    };
    let none = || client(&pki.roots(), BOTH);
    assert_eq!(gets_in(strict, holder(&pki.roots(), &own)).ok(), Some(200));
    assert_eq!(gets_in(lenient, holder(&pki.roots(), &own)).ok(), Some(200));
    assert!(gets_in(strict, none()).is_err());
    assert_eq!(gets_in(lenient, none()).ok(), Some(401));
    for bad in [&strangers, &ended] {
        assert!(gets_in(strict, holder(&pki.roots(), bad)).is_err());
        assert!(gets_in(lenient, holder(&pki.roots(), bad)).is_err());
    }
    let tunnel = Tunnel::to(lenient, none(), "edge.test");
    Client::new(tunnel.address()).with("X-API-Key", ACME.text).get("/x").expect(200);
    until("the count", SOON, || {
        let labels = &[("result", "client_certificate")];
        (edge.metrics().sum("openclaw_edge_tls_handshakes_total", labels) > 4.5).then_some(())
    });
}

#[test]
fn a_certificate_that_is_taken_back_counts_no_more_not_even_on_open_connections() {
    let (pki, socket) = (Pki::new(), free_address());
    let (good, bad) = (pki.server("good", &["good.test"]), pki.server("bad", &["bad.test"]));
    let crl = pki.take_back(&[]);
    let (upstream, gateway) = (Double::mirror(), EchoGateway::start());
    let site = Site::new()
        .upstream("all", upstream.address())
        .gateway("ceo", "acme", gateway.address())
        .gateway_routes()
        .route("name: all, path: /all, upstream: all")
        .credential("id: good, tenant: acme, scopes: [gateways:connect], certificate: { dns: good.test }")
        .credential("id: bad, tenant: acme, scopes: [gateways:connect], certificate: { dns: bad.test }");
    let site = asking(site, &pki, socket, &format!(", crl: \"{}\"", crl.display()));
    let edge = Edge::start(&site);
    let over = |files: &Files| Tunnel::to(socket, holder(&pki.roots(), files), "edge.test");
    let (good_tunnel, bad_tunnel) = (over(&good), over(&bad));
    let connection = |tunnel: &Tunnel| Client::new(tunnel.address()).connection();
    let (mut still, mut gone) = (connection(&good_tunnel), connection(&bad_tunnel));
    let get = Request::get("/all");
    still.send(&get).expect(200);
    gone.send(&get).expect(200);
    let mut good_socket = open(good_tunnel.address(), "/gateways/ceo", &[]).expect("an open socket");
    let mut bad_socket = open(bad_tunnel.address(), "/gateways/ceo", &[]).expect("an open socket");
    assert_eq!(ask(&mut bad_socket, "here"), "here");
    pki.take_back(&[&bad]);
    assert_eq!(closed(&mut bad_socket).0, 1008);
    assert_eq!(ask(&mut good_socket, "still here"), "still here");
    gone.send(&get).refused(401, "unauthorized");
    still.send(&get).expect(200);
    assert!(Client::new(bad_tunnel.address()).try_send(&get).is_err(), "a new handshake is refused");
    shake_hands(socket, &holder(&pki.roots(), &good), "edge.test").expect("others get in");
    assert!(edge.metrics().sum("openclaw_edge_websockets_revoked_total", &[]) > 0.5);
}

#[test]
fn mistakes_about_client_certificates_have_their_places() {
    let pki = Pki::new();
    let folder = Temp::new();
    let nothing = folder.write("nothing.pem", "nothing").display().to_string();
    let upstream = Double::mirror();
    let plain = || Site::keyed(&upstream);
    let asked = |more: &str| asking(plain(), &pki, free_address(), more);
    for (site, message) in [
        (
            plain().credential("id: a, tenant: acme, certificate: { dns: a.test }"),
            "no socket asks its clients",
        ),
        (asked("").credential("id: a, tenant: acme, certificate: {}"), "a certificate is known by something"),
        (
            asked("").credential("id: a, tenant: acme, certificate: { dns: a, uri: \"a:b\" }"),
            "one of `uri`, `dns` and `fingerprint`",
        ),
        (asked("").credential("id: a, tenant: acme, certificate: { dns: \"*.a\" }"), "this is no DNS name"),
        (asked("").credential("id: a, tenant: acme, certificate: { uri: nothing }"), "this is no URI"),
        (
            asked("").credential("id: a, tenant: acme, certificate: { fingerprint: \"sha256:12\" }"),
            "this is no fingerprint",
        ),
        (
            asked("")
                .credential("id: a, tenant: acme, certificate: { dns: A.test }")
                .credential("id: b, tenant: acme, certificate: { dns: a.test }"),
            "this is the same certificate",
        ),
        (asked(&format!(", crl: \"{nothing}\"")), "no list of revoked certificates"),
    ] {
        let config = folder.write("edge.yaml", site.text(free_address(), free_address(), "/nowhere"));
        let output = run_edge(&["check", "--config", &config.display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(message), "{message}: {said}");
    }
}
