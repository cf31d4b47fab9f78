//! Who is taken for the client, whatever a client writes.

use http::Request;
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1";

/// The client of a request whose peer is `peer`, with these lines of the field.
fn client(address: &ClientAddress, peer: &str, lines: &[&str]) -> Option<String> {
    let mut request = Request::new(());
    let name = match address.field {
        AddressField::XForwardedFor => X_FORWARDED_FOR,
        AddressField::Forwarded => FORWARDED,
    };
    for line in lines {
        request.headers_mut().append(name.clone(), line.parse().unwrap());
    }
    request.extensions_mut().insert(peer.parse::<IpAddr>().unwrap());
    address.of(&request.into_parts().0).map(|address| address.to_string())
}

fn of_peer() -> ClientAddress {
    ClientAddress::of_peer(|parts| parts.extensions.get::<IpAddr>().copied())
}

fn behind_proxies() -> ClientAddress {
    of_peer().trusting(["10.0.0.0/8", "2001:db8:ffff::/48"]).unwrap()
}

fn forwarded() -> ClientAddress {
    behind_proxies().field(AddressField::Forwarded)
}

#[test]
fn without_trusted_proxies_the_peer_is_the_client_whatever_it_says() {
    assert_eq!(client(&of_peer(), "9.9.9.9", &["1.1.1.1"]).unwrap(), "9.9.9.9");
    assert_eq!(client(&of_peer(), PROXY, &["1.1.1.1"]).unwrap(), PROXY);
    // Nor is a client believed that reaches us past the proxies.
    assert_eq!(client(&behind_proxies(), "9.9.9.9", &["1.1.1.1"]).unwrap(), "9.9.9.9");
}

#[test]
fn the_last_that_is_not_trusted_is_the_client() {
    let by = behind_proxies();
    for (lines, found) in [
        (&["9.9.9.9"][..], "9.9.9.9"),
        (&["1.1.1.1, 9.9.9.9"], "9.9.9.9"),
        (&["1.1.1.1, 9.9.9.9, 10.7.7.7"], "9.9.9.9"),
        (&["1.1.1.1", "9.9.9.9", "10.7.7.7"], "9.9.9.9"),
        (&["10.1.1.1, 9.9.9.9"], "9.9.9.9"),
        (&["9.9.9.9:4711"], "9.9.9.9"),
        (&["  9.9.9.9  "], "9.9.9.9"),
        (&["::ffff:9.9.9.9"], "9.9.9.9"),
        (&["2001:db8:1:2:3:4:5:6, 2001:db8:ffff::7"], "2001:db8:1:2::"),
        (&["[2001:db8:1:2:3:4:5:6]:80"], "2001:db8:1:2::"),
        // All are ours: the request began with us.
        (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        (&[], PROXY),
    ] {
        assert_eq!(client(&by, PROXY, lines).unwrap(), found, "{lines:?}");
    }
    assert_eq!(client(&by, "::ffff:10.0.0.1", &["9.9.9.9"]).unwrap(), "9.9.9.9");
}

#[test]
fn what_a_trusted_proxy_does_not_say_nobody_knows() {
    for line in
        ["unknown", "_hidden", "", "9.9.9.9, ", "nonsense", "9.9.9", "9.9.9.9:", "[::1", "[::1]x"]
    {
        assert_eq!(client(&behind_proxies(), PROXY, &[line]), None, "{line}");
    }
    // The client's own rubbish stands to the left, and nobody looks.
    assert_eq!(client(&behind_proxies(), PROXY, &["\", unknown,,, 9.9.9.9"]).unwrap(), "9.9.9.9");
    let long = vec!["10.0.0.2"; 100].join(", ");
    assert_eq!(client(&behind_proxies(), PROXY, &[&long]), None);
}

#[test]
fn the_standard_field_is_read_from_its_end() {
    for (lines, found) in [
        (&["for=9.9.9.9"][..], Some("9.9.9.9")),
        (&["For=\"9.9.9.9:80\";proto=https;by=10.0.0.1"], Some("9.9.9.9")),
        (&["for=1.1.1.1, for=9.9.9.9;proto=http, for=10.2.2.2"], Some("9.9.9.9")),
        (&["for=\"[2001:db8:1:2::9]:4711\""], Some("2001:db8:1:2::")),
        (&["for=9.9.9.9; host=\"a,b\""], Some("9.9.9.9")),
        // A quote that a client opens swallows nothing that a proxy wrote.
        (&["for=\"1.1.1.1, for=9.9.9.9"], Some("9.9.9.9")),
        (&["for=\"1.1.1.1", "for=9.9.9.9"], Some("9.9.9.9")),
        (&["for=1.1.1.1\\\", for=9.9.9.9"], Some("9.9.9.9")),
        (&["proto=https"], None),
        (&["for=unknown"], None),
        (&["for=_secret"], None),
        (&["for=1.1.1.1;for=9.9.9.9"], None),
        (&["for"], None),
        (&[""], None),
    ] {
        assert_eq!(client(&forwarded(), PROXY, lines).as_deref(), found, "{lines:?}");
    }
}

#[test]
fn the_other_field_is_not_looked_at() {
    let mut request = Request::new(());
    request.headers_mut().insert(X_FORWARDED_FOR, "1.1.1.1".parse().unwrap());
    request.extensions_mut().insert(PROXY.parse::<IpAddr>().unwrap());
    let found = forwarded().of(&request.into_parts().0).unwrap();
    assert_eq!(found.to_string(), PROXY);
}

#[test]
fn a_network_of_ipv6_is_one_client_and_how_large_is_a_choice() {
    let of = |bits: u8, peer: &str| client(&of_peer().ipv6_bits(bits).unwrap(), peer, &[]).unwrap();
    assert_eq!(of(64, "2001:db8:1:2:3:4:5:6"), of(64, "2001:db8:1:2:ffff::"));
    assert_ne!(of(64, "2001:db8:1:2::1"), of(64, "2001:db8:1:3::1"));
    assert_eq!(of(48, "2001:db8:1:2::1"), of(48, "2001:db8:1:3::1"));
    assert_eq!(of(128, "2001:db8:1:2::1"), "2001:db8:1:2::1");
    for bits in [0, 31, 129] {
        assert!(of_peer().ipv6_bits(bits).is_err(), "{bits}");
    }
}

#[test]
fn networks_are_read_or_refused() {
    let has = |network: &str, address: &str| {
        network.parse::<Network>().unwrap().has(address.parse().unwrap())
    };
    assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.0"));
    assert!(has("0.0.0.0/0", "9.9.9.9") && !has("0.0.0.0/0", "::1"));
    assert!(has("::/0", "2001::1") && has("::1", "::1") && !has("::1", "::2"));
    assert!(has("192.0.2.128/25", "192.0.2.200") && !has("192.0.2.128/25", "192.0.2.100"));
    for wrong in
        ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "host", "1.2.3.4/-1"]
    {
        assert!(wrong.parse::<Network>().is_err(), "{wrong}");
    }
}

proptest! {
    /// Whatever a client writes before what the trusted proxy appends, in the same line or in one before: it is
    /// the one who asked the proxy, and nothing panics.
    #[test]
    fn nothing_a_client_writes_makes_it_another(forged in "[ -~]{0,60}", apart in any::<bool>()) {
        for (by, said) in [(behind_proxies(), "9.9.9.9"), (forwarded(), "for=9.9.9.9;proto=https")] {
            let joined = format!("{forged}, {said}");
            let lines = if apart { vec![&forged[..], said] } else { vec![&joined[..]] };
            prop_assert_eq!(client(&by, PROXY, &lines).unwrap(), "9.9.9.9");
            // Past the proxies it is itself.
            prop_assert_eq!(client(&by, "8.8.8.8", &lines).unwrap(), "8.8.8.8");
            let _ = client(&by, PROXY, &[&forged]);
        }
    }
}
