use http::{HeaderValue, Request};

use super::*;

fn key(uri: &str) -> RequestKey {
    RequestKey::of(&Request::get(uri).body(()).unwrap().into_parts().0).unwrap()
}

fn fields(of: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    of.iter().map(pair).collect()
}

fn tags(of: &[(&'static str, &str)]) -> Result<Vec<Tag>, &'static str> {
    tags_of(&Extensions::new(), &fields(of), &key("http://a.example/"))
}

fn named(names: &[&str]) -> Vec<Tag> {
    names.iter().map(Tag::new).collect()
}

#[test]
fn a_response_has_the_tags_of_all_who_name_some_each_once() {
    let mut extensions = Extensions::new();
    extensions.insert(CacheTags::new(["a", "b"]));
    let headers =
        fields(&[("surrogate-key", "b  c\td"), ("surrogate-key", "e"), ("cache-groups", "\"b\"")]);
    let all = tags_of(&extensions, &headers, &key("http://a.example/")).unwrap();
    let mut want = named(&["a", "b", "c", "d", "e"]);
    want.push(Tag::from_parts(&("cache-group", Scheme::Http, "a.example", "b")));
    assert_eq!(all, want);
    assert_eq!(tags(&[]), Ok(vec![]));
    assert_eq!(tags(&[("surrogate-key", " "), ("cache-groups", "")]), Ok(vec![]));
}

#[test]
fn more_tags_than_allowed_forbid_storing() {
    let names = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(" ");
    assert_eq!(tags(&[("surrogate-key", &names(64))]).unwrap().len(), 64);
    assert_eq!(tags(&[("surrogate-key", &names(65))]), Err("too many tags"));
    assert_eq!(tags(&[("surrogate-key", &"same ".repeat(65))]), Ok(named(&["same"])));
    let groups =
        |count: usize| (0..count).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",");
    assert_eq!(
        tags(&[("surrogate-key", &names(32)), ("cache-groups", &groups(33))]),
        Err("too many tags")
    );
    let mut extensions = Extensions::new();
    extensions.insert(CacheTags::new((0..65).map(|n| n.to_string())));
    assert!(tags_of(&extensions, &HeaderMap::new(), &key("http://a.example/")).is_err());
}

#[test]
fn a_tag_longer_than_allowed_forbids_storing() {
    for field in ["surrogate-key", "cache-groups"] {
        let quoted = |len| {
            if field == "cache-groups" {
                format!("\"{}\"", "x".repeat(len))
            } else {
                "x".repeat(len)
            }
        };
        assert_eq!(tags(&[(field, &quoted(256))]).unwrap().len(), 1, "{field}");
        assert_eq!(tags(&[(field, &quoted(257))]), Err("a tag is too long"), "{field}");
    }
}

#[test]
fn tags_that_cannot_be_read_forbid_storing() {
    let bytes =
        |name, value| [(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())];
    let broken = HeaderMap::from_iter(bytes("surrogate-key", b"a \xff"));
    assert!(tags_of(&Extensions::new(), &broken, &key("http://a.example/")).is_err());
    assert!(tags(&[("cache-groups", "\"a")]).is_err());
    assert!(tags(&[("cache-groups", "\"a\" \"b\"")]).is_err());
}

/// RFC 9875 §2: "a List of Strings"; what else it holds is ignored.
#[test]
fn section_2_members_of_another_kind_and_parameters_are_ignored() {
    assert_eq!(
        tags(&[("cache-groups", "\"a\";x=1, b, 3, (\"c\")")]),
        tags(&[("cache-groups", "\"a\"")])
    );
    assert_ne!(tags(&[("cache-groups", "\"a\"")]), tags(&[("cache-groups", "\"A\"")]));
}

/// RFC 9875 §2.1: "They both share the same URI origin".
#[test]
fn section_2_1_a_group_belongs_to_its_origin() {
    let headers = fields(&[("cache-groups", "\"a\"")]);
    let of = |uri| tags_of(&Extensions::new(), &headers, &key(uri)).unwrap();
    assert_eq!(of("http://a.example/x"), of("http://A.example/y?z"));
    assert_ne!(of("http://a.example/"), of("http://b.example/"));
    assert_ne!(of("http://a.example/"), of("http://a.example:8080/"));
    assert_ne!(of("http://a.example/"), of("https://a.example/"));
    assert_ne!(of("http://a.example/"), named(&["a"]));
}

/// RFC 9875 §3.
#[test]
fn section_3_an_answer_ends_groups_of_its_own_origin() {
    let ended = ended_groups(
        &fields(&[("cache-group-invalidation", "\"a\", \"b\", \"a\"")]),
        &key("http://a.example/x"),
    );
    assert_eq!(ended.len(), 4);
    for (uri, ends) in
        [("http://a.example/", true), ("https://a.example/", true), ("http://b.example/", false)]
    {
        let stored =
            tags_of(&Extensions::new(), &fields(&[("cache-groups", "\"b\"")]), &key(uri)).unwrap();
        assert_eq!(stored.iter().all(|tag| ended.contains(tag)), ends, "{uri}");
    }
    assert!(
        ended_groups(&fields(&[("cache-group-invalidation", "\"a")]), &key("http://a.example/"))
            .is_empty()
    );
    assert!(
        ended_groups(&fields(&[("cache-groups", "\"a\"")]), &key("http://a.example/")).is_empty()
    );
}
