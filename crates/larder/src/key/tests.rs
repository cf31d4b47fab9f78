use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::error::ErrorKind;

const BOUND: usize = 1024;

/// A type that breaks the rule of `ToKey`: a list that does not say how long it is.
#[derive(Clone, Debug, PartialEq)]
struct Loose(Vec<Vec<u8>>);

impl ToKey for Loose {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        self.0.iter().for_each(|part| part.to_key(out));
    }
}

fn tasks() -> Namespace {
    Namespace::new("todo", "tasks", 3).unwrap()
}

fn encoded<K: ToKey + ?Sized>(key: &K) -> Vec<u8> {
    let mut out = KeyBuf::new();
    key.to_key(&mut KeyWriter::new(&mut out, usize::MAX));
    out.to_vec()
}

fn shared<K: ToKey + ?Sized>(key: &K) -> Key {
    let mut out = KeyBuf::new();
    tasks().shared(key, usize::MAX, &mut out).unwrap();
    Key::new(&out)
}

fn per_user<U: ToKey + ?Sized, K: ToKey + ?Sized>(user: &U, key: &K) -> Key {
    let mut out = KeyBuf::new();
    let user = tasks().user_prefix(user, usize::MAX).unwrap();
    tasks().per_user(&user, key, usize::MAX, &mut out).unwrap();
    Key::new(&out)
}

/// Bytes made of what the encoding itself is made of, and any others.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let ours = prop::sample::select(b"{}.:;|@-0123456789vlt\0\xff".to_vec());
    prop_oneof![4 => vec(ours, 0..12), 1 => vec(any::<u8>(), 0..64), 1 => vec(any::<u8>(), 0..=1024)]
}

/// Every string of at most `length` bytes of `alphabet`.
fn all(alphabet: &[u8], length: usize) -> Vec<Vec<u8>> {
    let mut found = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..length {
        let to = found.len();
        for at in from..to {
            let text = found[at].clone();
            found.extend(alphabet.iter().map(|byte| [&text[..], &[*byte]].concat()));
        }
        from = to;
    }
    found
}

mod encoding {
    use super::*;

    #[test]
    fn parts_are_written_as_documented() {
        let id = Uuid::from_u128(0x0192_a1b2_c3d4_7000_8000_0123_4567_89ab);
        assert_eq!(encoded("alice"), b"5.alice");
        assert_eq!(encoded(""), b"0.");
        assert_eq!(encoded(&b"\0\xff"[..]), b"2.\0\xff");
        assert_eq!(encoded(&[1u8, 2]), b"2.\x01\x02");
        assert_eq!(encoded(&17u8), b"17;");
        assert_eq!(encoded(&-17i64), b"-17;");
        assert_eq!(encoded(&0usize), b"0;");
        assert_eq!(encoded(&i8::MIN), b"-128;");
        assert_eq!(encoded(&id), b"0192a1b2-c3d4-7000-8000-0123456789ab");
        assert_eq!(encoded(&true), b"1;");
        assert_eq!(encoded(&None::<u8>), b"0;");
        assert_eq!(encoded(&Some(7)), b"1;7;");
        assert_eq!(encoded(&'a'), b"1.a");
        assert_eq!(encoded(&'\u{10ffff}'), b"4.\xf4\x8f\xbf\xbf");
        assert_eq!(encoded(&NonZero::<u8>::MAX), b"255;");
        assert_eq!(encoded(&NonZero::<i64>::MIN), format!("{};", i64::MIN).as_bytes());
        assert_eq!(encoded(&[7u16, 8]), b"2;7;8;");
        assert_eq!(encoded(&vec!["a", ""]), b"2;1.a0.");
        assert_eq!(encoded(&[vec![1], vec![]]), b"2;1;1;0;");
        assert_eq!(encoded(&Vec::<String>::new()), b"0;");
        assert_eq!(encoded(&Vec::<u8>::new()), b"0.");
        assert_eq!(
            encoded(&(1, "a", 2u8, String::from("b"), true, id)).len(),
            2 + 3 + 2 + 3 + 2 + 36
        );
    }

    /// Text is ours only as long as the standard library writes it like this.
    #[test]
    fn an_address_is_written_as_its_text_and_the_same_alone_or_as_one_of_two() {
        let longest = Ipv6Addr::from([0xff; 16]);
        for (text, shown) in [
            ("127.0.0.1", "9.127.0.0.1"),
            ("255.255.255.255", "15.255.255.255.255"),
            ("::1", "3.::1"),
            ("::127.0.0.1", "8.::7f00:1"),
            ("::ffff:127.0.0.1", "16.::ffff:127.0.0.1"),
            ("2001:DB8:0:0:1:0:0:1", "17.2001:db8::1:0:0:1"),
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(encoded(&address), shown.as_bytes());
            match address {
                IpAddr::V4(v4) => assert_eq!(encoded(&v4), shown.as_bytes()),
                IpAddr::V6(v6) => assert_eq!(encoded(&v6), shown.as_bytes()),
            }
        }
        assert_eq!(encoded(&longest), format!("39.{longest}").into_bytes());
    }

    #[test]
    fn a_list_writes_the_same_whatever_holds_it() {
        let plain = encoded(&["a", "b"]);
        assert_eq!(encoded(&["a", "b"][..]), plain);
        assert_eq!(encoded(&vec!["a", "b"]), plain);
        assert_eq!(encoded(&Arc::<[&str]>::from(vec!["a", "b"])), plain);
        assert_eq!(encoded(&std::borrow::Cow::Borrowed(&["a", "b"][..])), plain);
    }

    #[test]
    fn a_pointer_writes_what_it_points_to() {
        let plain = encoded("a");
        assert_eq!(encoded(&&"a"), plain);
        assert_eq!(encoded(&Arc::<str>::from("a")), plain);
        assert_eq!(encoded(&Box::<str>::from("a")), plain);
        assert_eq!(encoded(&std::rc::Rc::<str>::from("a")), plain);
        assert_eq!(encoded(&std::borrow::Cow::Borrowed("a")), plain);
    }

    proptest! {
        #[test]
        fn a_number_is_written_as_people_write_it(any: u128, signed: i128, small: i16) {
            for number in [any, any >> 64, any >> 100, any >> 126] {
                prop_assert_eq!(encoded(&number), format!("{number};").into_bytes());
            }
            prop_assert_eq!(encoded(&signed), format!("{signed};").into_bytes());
            prop_assert_eq!(encoded(&small), format!("{small};").into_bytes());
            prop_assert_eq!(encoded(&(small as isize)), format!("{small};").into_bytes());
        }

        #[test]
        fn two_keys_write_the_same_only_if_they_are_the_same(
            a in (hostile(), any::<i32>(), hostile(), any::<Option<u8>>()),
            b in (hostile(), any::<i32>(), hostile(), any::<Option<u8>>()),
        ) {
            prop_assert_eq!(a == b, encoded(&a) == encoded(&b));
            prop_assert_eq!(a == b, shared(&a) == shared(&b));
        }

        #[test]
        fn two_keys_of_the_other_types_write_the_same_only_if_they_are_the_same(
            a in (any::<char>(), any::<IpAddr>(), any::<NonZero<i16>>(), vec(hostile(), 0..3), vec(any::<Option<i8>>(), 0..3)),
            b in (any::<char>(), any::<IpAddr>(), any::<NonZero<i16>>(), vec(hostile(), 0..3), vec(any::<Option<i8>>(), 0..3)),
        ) {
            prop_assert_eq!(a == b, encoded(&a) == encoded(&b));
            prop_assert_eq!(encoded(&a.2), encoded(&a.2.get()));
            prop_assert_eq!(encoded(&a.0), encoded(&a.0.to_string()));
            prop_assert_eq!(encoded(&a.1), encoded(&a.1.to_string()));
            prop_assert_eq!(a.3 == b.3, encoded(&a.3) == encoded(&b.3));
            prop_assert_eq!(a.4 == b.4, encoded(&a.4) == encoded(&b.4));
        }

        /// What `Loose` gets wrong: the parts of two lists, cut at two places.
        #[test]
        fn moving_parts_from_one_list_to_the_next_makes_another_key(
            parts in vec(hostile(), 0..5),
            numbers in vec(any::<i32>(), 0..5),
            cut: prop::sample::Index,
            other: prop::sample::Index,
        ) {
            let (a, b) = parts.split_at(cut.index(parts.len() + 1));
            let (c, d) = parts.split_at(other.index(parts.len() + 1));
            prop_assert_eq!((a, b) == (c, d), encoded(&(a, b)) == encoded(&(c, d)));
            let (a, b) = numbers.split_at(cut.index(numbers.len() + 1));
            let (c, d) = numbers.split_at(other.index(numbers.len() + 1));
            prop_assert_eq!((a, b) == (c, d), encoded(&(a, b)) == encoded(&(c, d)));
        }

        /// Random pairs hardly ever come close; cutting one string at two places does.
        #[test]
        fn moving_bytes_from_one_part_to_the_next_makes_another_key(
            text in hostile(),
            cut: prop::sample::Index,
            other: prop::sample::Index,
            number: u16,
        ) {
            let (a, b) = text.split_at(cut.index(text.len() + 1));
            let (c, d) = text.split_at(other.index(text.len() + 1));
            prop_assert_eq!((a, b) == (c, d), encoded(&(a, b)) == encoded(&(c, d)));
            prop_assert_eq!((a, b) == (c, d), encoded(&(a, number, b)) == encoded(&(c, number, d)));
        }
    }

    #[test]
    fn short_strings_of_delimiters_never_meet() {
        let texts = all(b".;|12}", 3);
        let mut seen = HashSet::new();
        for a in &texts {
            for b in &texts {
                assert!(seen.insert(encoded(&(a, b))), "{a:?} and {b:?} meet another pair");
            }
        }
        assert_eq!(seen.len(), 259 * 259);
    }

    /// What makes every tuple of them injective: no encoding goes on where another one ends.
    #[test]
    fn no_part_begins_with_a_whole_other_part() {
        let texts = all(b".;0129-", 4).iter().map(encoded).collect::<Vec<_>>();
        let numbers =
            (-2000i128..2000).chain([i128::MIN, i128::MAX]).map(|n| encoded(&n)).collect();
        let options = (0..300u16).map(Some).chain([None]).map(|n| encoded(&n)).collect();
        let chars = ('\0'..=char::MAX).step_by(7).map(|c| encoded(&c)).collect();
        let v4 = (0..=u32::MAX).step_by(99_991).map(|n| IpAddr::from(Ipv4Addr::from(n)));
        let v6 = (0..128).map(|bit| IpAddr::from(Ipv6Addr::from(1u128 << bit)));
        let addresses = v4.chain(v6).map(|address| encoded(&address)).collect();
        let short = (-11..12i32).flat_map(|a| (-11..12).map(move |b| vec![a, b]));
        let lists = (-111..111)
            .map(|n| vec![n])
            .chain(short)
            .chain([vec![]])
            .map(|n| encoded(&n))
            .collect();
        for mut parts in [texts, numbers, options, chars, addresses, lists] {
            parts.sort();
            for pair in parts.windows(2) {
                assert!(!pair[1].starts_with(&pair[0]), "{pair:?}");
            }
        }
    }
}

mod names {
    use super::*;

    #[test]
    fn a_name_is_laid_out_as_the_protocol_says() {
        assert_eq!(shared(&17).v(), b"todo:tasks:3:v:{.17;}");
        assert_eq!(shared(&17).l(), b"todo:tasks:3:l:{.17;}");
        assert_eq!(shared(&17).k(), b"17;");
        assert_eq!(per_user("alice", &17).v(), b"todo:tasks:3:v:{.7|5.alice17;}");
        assert_eq!(Tag::new("lists").redis_name("todo"), b"todo:t:{.lists}");
    }

    #[test]
    fn people_are_shown_cache_schema_and_key() {
        assert_eq!(per_user("alice", &17).to_string(), "tasks:v3:{7|5.alice17;}");
        assert_eq!(shared(&[0u8, 0xff]).to_string(), r"tasks:v3:{2.\x00\xff}");
        assert_eq!(format!("{:?}", shared(&1)), "Key(todo:tasks:3:v:{.1;})");
        let long = shared(&"x".repeat(200)).to_string();
        assert_eq!(long, format!("tasks:v3:{{200.{}..}}", "x".repeat(116)));
        assert_eq!(Key::new(b"any\nthing").to_string(), r"any\nthing");
    }

    #[test]
    fn a_namespace_takes_only_names_that_cannot_run_into_each_other() {
        let longest = "a".repeat(64);
        for good in ["a", "todo-app_2.x", &longest] {
            assert!(Namespace::new(good, good, 0).is_ok(), "{good}");
        }
        let longer = "a".repeat(65);
        for bad in ["", "a:b", "a{", "a}", "a b", "ä", "a\0", &longer] {
            for (app, cache) in [(bad, "tasks"), ("todo", bad)] {
                let error = Namespace::new(app, cache, 0).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
            }
        }
        let text = Namespace::new("todo", "a:b", 1).unwrap_err().to_string();
        assert_eq!(text, "name of cache must be 1 to 64 of A-Z a-z 0-9 _ . - and is \"a:b\"");
    }

    #[test]
    fn a_key_over_the_bound_is_refused_and_nothing_of_it_is_kept() {
        let mut out = KeyBuf::new();
        let fits = "x".repeat(BOUND - 5); // `1019.` and the text
        tasks().shared(&fits, BOUND, &mut out).unwrap();
        assert_eq!(Key::new(&out).k().len(), BOUND);

        let error = tasks().shared(&"x".repeat(4995), BOUND, &mut out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        let told = "key of 5000 bytes is longer than the bound of 1024 (cache tasks)";
        assert_eq!(error.to_string(), told);
        assert!(out.is_empty());

        let huge = vec![0u8; 10 << 20];
        let mut out = KeyBuf::new();
        assert!(tasks().shared(&huge, BOUND, &mut out).is_err());
        assert!(out.capacity() < 2 * BOUND, "{} bytes were reserved", out.capacity());
    }

    #[test]
    fn the_bound_counts_user_and_key_together() {
        let mut out = KeyBuf::new();
        let user = tasks().user_prefix("alice", BOUND).unwrap(); // `7|5.alice`
        let fits = "x".repeat(BOUND - 9 - 5);
        tasks().per_user(&user, &fits, BOUND, &mut out).unwrap();
        let text = tasks().per_user(&user, &format!("{fits}x"), BOUND, &mut out).unwrap_err();
        assert!(text.to_string().contains("key of 1025 bytes"), "{text}");
        assert!(tasks().user_prefix(&"x".repeat(BOUND), BOUND).is_err());
    }

    proptest! {
        #[test]
        fn a_key_is_whole_or_refused(text in hostile(), more in hostile(), bound in 0usize..2048) {
            let mut out = KeyBuf::from_slice(b"of an earlier call");
            let whole = encoded(&(&text, &more));
            match tasks().shared(&(&text, &more), bound, &mut out) {
                Ok(()) => prop_assert!(Key::new(&out).k() == whole),
                Err(_) => prop_assert!(whole.len() > bound && out.is_empty()),
            }
        }

        #[test]
        fn no_user_and_key_meet_another_user_and_key(
            a in (hostile(), hostile()),
            b in (hostile(), hostile()),
            text in hostile(),
            cut: prop::sample::Index,
            other: prop::sample::Index,
        ) {
            prop_assert_eq!(a == b, per_user(&a.0, &a.1) == per_user(&b.0, &b.1));
            let a = text.split_at(cut.index(text.len() + 1));
            let b = text.split_at(other.index(text.len() + 1));
            prop_assert_eq!(a == b, per_user(a.0, a.1) == per_user(b.0, b.1));
        }

        /// Even where the user's type does not say where it ends.
        #[test]
        fn parts_cannot_move_from_the_user_to_the_key(
            parts in vec(hostile(), 0..5),
            cut: prop::sample::Index,
            other: prop::sample::Index,
        ) {
            let scope = |cut: prop::sample::Index| {
                let (user, key) = parts.split_at(cut.index(parts.len() + 1));
                (Loose(user.to_vec()), Loose(key.to_vec()))
            };
            let (a, b) = (scope(cut), scope(other));
            prop_assert_eq!(a == b, per_user(&a.0, &a.1) == per_user(&b.0, &b.1));
        }

        #[test]
        fn a_shared_key_is_never_the_key_of_a_user(
            user in hostile(),
            key in hostile(),
            number: i64,
            id: u128,
        ) {
            let of_a_user = per_user(&user, &key);
            prop_assert_ne!(shared(&(&user, &key)), of_a_user.clone());
            prop_assert_ne!(shared(&of_a_user.k()), of_a_user.clone());
            prop_assert_ne!(shared(&(number, &key)), of_a_user.clone());
            prop_assert_ne!(shared(&(Uuid::from_u128(id), &key)), of_a_user);
        }
    }
}

mod slots {
    use super::*;

    /// As in the Redis Cluster specification: CRC16 (XMODEM) of the hash tag, modulo 16384.
    fn slot(name: &[u8]) -> u16 {
        let tag = name.iter().position(|byte| *byte == b'{').and_then(|open| {
            let behind = &name[open + 1..];
            let close = behind.iter().position(|byte| *byte == b'}')?;
            (close > 0).then(|| &behind[..close])
        });
        let crc = tag.unwrap_or(name).iter().fold(0u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        });
        crc % 16384
    }

    /// The numbers are what `CLUSTER KEYSLOT` answers.
    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot(b"123456789"), 12739);
        assert_eq!(slot(b"{user1000}.following"), 3443);
        assert_eq!(slot(b"foo{}{bar}"), 8363);
        assert_eq!(slot(b"foo{{bar}}zap"), 4015);
        assert_eq!(slot(b"todo:tasks:3:v:{.}"), 1452);
        // Without the dot, the entry of `}x` and its lease:
        assert_eq!(slot(b"todo:tasks:3:v:{}x}"), 10923);
        assert_eq!(slot(b"todo:tasks:3:l:{}x}"), 13869);
    }

    proptest! {
        #[test]
        fn an_entry_and_its_lease_share_a_slot(parts in vec(hostile(), 0..3), user in hostile()) {
            for key in [shared(&Loose(parts.clone())), per_user(&user, &Loose(parts.clone()))] {
                prop_assert_eq!(slot(key.v()), slot(&key.l()));
            }
        }

        /// Bytes as they would be if a part were ever written without its length.
        #[test]
        fn the_dot_holds_them_together_whatever_the_key(bytes in hostile()) {
            let name = [&b"todo:tasks:3:v:{."[..], &bytes, b"}"].concat();
            let key = Key::new(&name);
            prop_assert_eq!(slot(key.v()), slot(&key.l()));
        }
    }
}

mod pushed {
    use super::*;

    fn valid_name() -> impl Strategy<Value = String> {
        "[A-Za-z0-9_.-]{1,64}"
    }

    #[test]
    fn what_larder_does_not_write_is_not_recognised() {
        let others: [&[u8]; 20] = [
            b"",
            b"{",
            b"{.}",
            b":t:{.}",
            b"todo",
            b"todo:t:{.lists",
            b"todo:t:{lists}",
            b"todo:t:{.lists}x",
            b"todo:u:{.lists}",
            b"todo:t:x{.lists}",
            b"todo:tasks:3:v:{17;}",
            b"todo:tasks:3:v:{.}.",
            b"todo:tasks:03:v:{.17;}",
            b"todo:tasks:+3:v:{.17;}",
            b"todo:tasks:4294967296:v:{.17;}",
            b"todo:tasks::v:{.17;}",
            b"todo:tasks:3:d:{.17;}",
            b"todo:tasks:3:v:v:{.17;}",
            b"to do:tasks:3:v:{.17;}",
            b"todo:tasks:v:{.17;}",
        ];
        for name in others {
            assert_eq!(parse(name), Named::Other, "{}", name.escape_ascii());
        }
        let long = [&b"todo:t:{."[..], &[b'x'; 256], b"}"].concat();
        assert_eq!(parse(&long), Named::Other);
    }

    #[test]
    fn an_app_called_t_is_no_tag() {
        let mut out = KeyBuf::new();
        Namespace::new("t", "t", 1).unwrap().shared("t:{.x", BOUND, &mut out).unwrap();
        assert_eq!(parse(&out), Named::Value(&out));
        let tag = Tag::new("x:1:v:{.17;}");
        assert_eq!(parse(&tag.redis_name("t")), Named::Tag(tag));
    }

    proptest! {
        #[test]
        fn every_name_is_recognised_for_what_it_is(
            app in valid_name(),
            cache in valid_name(),
            schema: u32,
            key in hostile(),
            name in ".{0,300}",
        ) {
            let namespace = Namespace::new(&app, &cache, schema).unwrap();
            let mut out = KeyBuf::new();
            namespace.shared(&key, usize::MAX, &mut out).unwrap();
            let key = Key::new(&out);
            prop_assert_eq!(parse(key.v()), Named::Value(key.v()));
            prop_assert!(parse(&key.l()) == Named::Lease(key.v().to_vec()));
            for tag in [Tag::new(&name), Tag::from_parts(key.k())] {
                prop_assert!(parse(&tag.redis_name(&app)) == Named::Tag(tag));
            }
        }

        #[test]
        fn any_bytes_can_be_asked_about(bytes in vec(any::<u8>(), 0..200)) {
            parse(&bytes);
            let key = Key::new(&bytes);
            let _ = (key.l(), key.k(), key.to_string());
        }

        #[test]
        fn a_name_with_a_byte_changed_is_nothing_or_another_name(
            key in hostile(),
            at: prop::sample::Index,
            with in prop::sample::select(b"{}.:vlt0\0\xff".to_vec()),
        ) {
            let whole = shared(&key);
            let mut bytes = whole.v().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = with;
            match parse(&bytes) {
                Named::Value(name) => prop_assert_eq!(name, &bytes[..]),
                Named::Lease(name) => prop_assert!(Key::new(&name).l() == bytes),
                Named::Tag(_) => prop_assert!(false, "an entry's name read as a tag's"),
                Named::Other => {}
            }
            bytes.remove(at);
            parse(&bytes);
        }
    }
}

mod tags {
    use super::*;

    fn of_user(cache: &str, user: &[u8]) -> Tag {
        Tag::of_user(cache, &tasks().user_prefix(user, usize::MAX).unwrap())
    }

    #[test]
    fn a_tag_is_named_as_documented() {
        assert_eq!(Tag::new("lists").name(), b"lists");
        assert_eq!(Tag::new("").redis_name("todo"), b"todo:t:{.}");
        assert_eq!(Tag::new("@x").name(), b"@@x");
        assert_eq!(Tag::from_parts(&("lists", 17)).name(), b"@p5.lists17;");
        assert_eq!(of_user("tasks", b"alice").name(), b"@u5.tasks5.alice");
        assert_eq!(Tag::from("lists"), Tag::from(String::from("lists")));
        assert_eq!(Tag::from_parts(&[0u8]).to_string(), r"@p1.\x00");
    }

    #[test]
    fn a_long_name_is_hashed_and_a_longest_one_is_not() {
        assert_eq!(Tag::new("x".repeat(255)).name(), [b'x'; 255]);
        let hashed = Tag::new("x".repeat(256));
        assert_eq!(hashed.name().len(), 34);
        assert!(hashed.name().starts_with(b"@h"));
        assert_ne!(hashed, Tag::new("x".repeat(257)));
        // What a hash looks like can be written by people too, and is not it.
        assert_ne!(hashed, Tag::new(hashed.to_string()));
        assert_ne!(Tag::new("@".repeat(256)), Tag::new("@".repeat(255)));
    }

    #[test]
    fn the_kinds_of_tags_never_meet() {
        let texts = all(b"@puh15.", 4);
        let mut seen = HashSet::new();
        for text in &texts {
            let plain = std::str::from_utf8(text).unwrap();
            assert!(seen.insert(Tag::new(plain)), "{plain}");
            assert!(seen.insert(Tag::from_parts(plain)), "parts {plain}");
            assert!(seen.insert(of_user("tasks", text)), "user {plain}");
            assert!(seen.insert(of_user("u", text)), "user {plain} of another cache");
        }
        assert_eq!(seen.len(), 4 * texts.len());
    }

    proptest! {
        #[test]
        fn two_tags_are_the_same_only_if_their_names_are(a in "[@puh.0-9]{0,8}|.{0,400}", b in "[@puh.0-9]{0,8}|.{0,400}") {
            prop_assert_eq!(a == b, Tag::new(&a) == Tag::new(&b));
            prop_assert_ne!(Tag::new(&a), Tag::from_parts(b.as_str()));
            prop_assert_ne!(Tag::new(&a), of_user("tasks", b.as_bytes()));
            prop_assert_ne!(Tag::from_parts(a.as_str()), of_user("tasks", b.as_bytes()));
        }

        #[test]
        fn a_user_of_one_cache_is_not_a_user_of_another(
            text in "[0-9.]{2,8}",
            cut: prop::sample::Index,
            other: prop::sample::Index,
        ) {
            let (a, b) = text.split_at(cut.index(text.len()));
            let (c, d) = text.split_at(other.index(text.len()));
            prop_assert_eq!(a == c, of_user(a, b.as_bytes()) == of_user(c, d.as_bytes()));
        }

        #[test]
        fn a_name_always_fits_its_byte(parts in vec(hostile(), 0..4), text in ".{0,400}") {
            for tag in [Tag::new(text), Tag::from_parts(&Loose(parts.clone())), of_user("c", &parts.concat())] {
                prop_assert!(tag.name().len() <= 255);
                prop_assert_eq!(Tag::from_name(tag.name()), Some(tag));
            }
        }
    }
}

#[test]
fn a_key_knows_its_names_under_the_schemas_next_to_its_own() {
    let beside = |name: &str| -> Vec<String> {
        let key = Key::new(name.as_bytes());
        key.beside().map(|key| String::from_utf8_lossy(key.v()).into_owned()).collect()
    };
    let names = ["todo:tasks:2:v:{.7|5.ali:e17;}", "todo:tasks:4:v:{.7|5.ali:e17;}"];
    assert_eq!(beside("todo:tasks:3:v:{.7|5.ali:e17;}"), names);
    assert_eq!(beside("a:b:0:v:{.}"), ["a:b:1:v:{.}"]);
    assert_eq!(beside("a:b:4294967295:v:{.}"), ["a:b:4294967294:v:{.}"]);
    for name in names {
        assert_eq!(parse(name.as_bytes()), Named::Value(name.as_bytes()));
    }
}

/// Where writes of another version of this program lie must be where this one looks.
#[test]
fn a_key_has_its_partition_for_good() {
    let namespace = Namespace::behind("todo", "seen", 3, 16).unwrap();
    let name = |key: &str| {
        let mut name = KeyBuf::new();
        namespace.shared(key, 512, &mut name).unwrap();
        String::from_utf8(name.to_vec()).unwrap()
    };
    let names = ["", "k", "}", "{", "17", "a longer key, of some words"].map(name);
    assert_eq!(
        names,
        [
            "todo:seen:3~16:v:{.6}0.",
            "todo:seen:3~16:v:{.9}1.k",
            "todo:seen:3~16:v:{.15}1.}",
            "todo:seen:3~16:v:{.12}1.{",
            "todo:seen:3~16:v:{.11}2.17",
            "todo:seen:3~16:v:{.7}27.a longer key, of some words",
        ]
    );
}

#[test]
fn all_names_of_a_partition_share_its_slot_and_lead_back_to_the_key() {
    for partitions in [1, 2, 16, 1024] {
        let namespace = Namespace::behind("todo", "seen", 3, partitions).unwrap();
        let all: Vec<Partition> = namespace.partitions().collect();
        assert_eq!(all.len(), partitions as usize);
        let mut used = HashSet::new();
        for text in (0..200).map(|number| format!("key}} {{{number}")) {
            let mut name = KeyBuf::new();
            namespace.shared(&text, 512, &mut name).unwrap();
            let key = Key::new(&name);
            let (partition, k) = key.in_partition().unwrap();
            assert_eq!(all[partition.number() as usize], partition);
            used.insert(partition.number());
            assert_eq!((partition.key(k), k), (key.clone(), encoded(&text).as_slice()));
            assert_eq!(parse(key.v()), Named::Value(key.v()));
            assert_eq!(parse(&key.l()), Named::Lease(key.v().to_vec()));
            let d = key.d().unwrap();
            assert_eq!(parse(&d), Named::Other);
            let other_names = [d, partition.q().to_vec(), partition.w(), partition.x()];
            #[cfg(feature = "redis")]
            for name in other_names.iter().chain([&key.l()]) {
                assert_eq!(slot::Slot::of(name), key.slot(), "{}", name.escape_ascii());
            }
            let beside: Vec<Key> = key.beside().collect();
            for (beside, schema) in beside.iter().zip([2, 4]) {
                let next = Namespace::behind("todo", "seen", schema, partitions).unwrap();
                let mut name = KeyBuf::new();
                next.shared(&text, 512, &mut name).unwrap();
                assert_eq!(*beside, Key::new(&name));
            }
        }
        assert!(partitions < 3 || used.len() > 2);
    }
}

#[test]
fn a_name_in_the_wrong_partition_is_none_of_ours() {
    for odd in [
        "todo:seen:3~16:v:{.1}1.k",
        "todo:seen:3~0:v:{.0}1.k",
        "todo:seen:3~16:v:{.09}1.k",
        "todo:seen:3~016:v:{.9}1.k",
        "todo:seen:03~16:v:{.9}1.k",
        "todo:seen:3~:v:{.0}1.k",
        "todo:seen:~16:v:{.0}1.k",
        "todo:seen:3~16:v:{.0",
    ] {
        assert_eq!(parse(odd.as_bytes()), Named::Other, "{odd}");
    }
    assert_eq!(Key::new(b"todo:seen:3:v:{.1.k}").in_partition(), None);
    assert_eq!(Key::new(b"todo:seen:3:v:{.1.k}").d(), None);
    let shown = Key::new(b"todo:seen:3~16:v:{.9}1.k").to_string();
    assert_eq!(shown, "seen:v3~16:{1.k}");
}
