//! The API's document is complete and true, and its page needs no other host.
//!
//! That each route is in it, and nothing else, is a test beside the router. Here the program is asked: what it
//! answers must be told, and what is told must be seen.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scene that cannot be set is a failed test"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use support::{Answer, Client, Directory, Document, PATIENCE, Service, token, until};

#[macro_use]
mod support;

const TASKS: &str = "/api/v1/tasks";
const TASK: &str = "/api/v1/tasks/{id}";
const ACTIVITY: &str = "/api/v1/activity";
const LEADERBOARD: &str = "/api/v1/leaderboard";
const ME: &str = "/api/v1/me";
const TOKEN: &str = "/api/v1/auth/token";
const NOBODYS: &str = "0198f1f0-9d2c-7cc0-8000-000000000000";

/// Headers that HTTP itself brings, of which no document tells.
const OF_HTTP: [&str; 6] =
    ["content-type", "content-length", "date", "allow", "transfer-encoding", "accept-ranges"];

/// What is told, and cannot be brought about from outside: something of the service's own that fails, and a
/// database that fails for those who only read (SQLite is in the process).
fn is_out_of_reach(path: &str, method: &str, status: &str) -> bool {
    let reads = method == "get" && status == "503";
    status == "500" || (reads && (path.starts_with("/api/v1/") || path == "/readyz"))
}

/// A demo on a file, whose document is at hand, and which notes what was seen.
struct Scene {
    service: Service,
    document: Document,
    seen: BTreeSet<(String, String, String)>,
    directory: Directory,
}

impl Scene {
    fn new(more: &[&str]) -> Scene {
        let directory = Directory::new();
        let file = directory.database();
        let words = [&["--demo", "--database-delay", "0", "--database", &file][..], more].concat();
        let service = Service::start(&words);
        let document = Document(service.stranger().get("/docs/openapi.json").body);
        Scene { service, document, seen: BTreeSet::new(), directory }
    }

    fn operations(&self) -> Vec<(String, String, &Value)> {
        let paths = self.document.0["paths"].as_object().unwrap();
        let each = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(|(method, operation)| (path.clone(), method.clone(), operation))
        });
        each.collect()
    }

    /// Sends it, and holds the answer against what is told of this path. `path` as the document has it; `id`
    /// and the query as they are to be sent.
    fn ask(
        &mut self,
        client: &Client,
        (method, path, more): (&str, &str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let sent = match path.strip_suffix("{id}") {
            Some(begin) => format!("{begin}{more}"),
            None => format!("{path}{more}"),
        };
        let answer = client.send(method, &sent, headers, body);
        let (method, status) = (method.to_ascii_lowercase(), answer.status.to_string());
        let operation = &self.document.0["paths"][path][&method];
        let told = &operation["responses"][&status];
        assert!(
            told.is_object(),
            "{method} {path} answers {status}, which is not told: {answer:?}"
        );
        for name in answer.headers().filter(|name| !OF_HTTP.contains(name)) {
            let mut named = told["headers"].as_object().into_iter().flatten();
            assert!(
                named.any(|(told, _)| told.eq_ignore_ascii_case(name)),
                "{method} {path} {status} has {name}, which is not told: {answer:?}"
            );
        }
        let kind = answer.header("content-type");
        match told["content"].as_object() {
            Some(content) => {
                let schema = &content[kind]["schema"];
                assert_eq!(self.document.wrong(&answer.body, schema), [""; 0], "{answer:?}");
            }
            // A part of a body is no whole.
            None => assert!(answer.body.is_null() || status == "206", "{answer:?}"),
        }
        self.seen.insert((path.to_owned(), method, status));
        answer
    }
}

/// Everything a client can bring about is brought about. What comes back is told, with its headers and its
/// body; and nothing is told that did not come, save what only a broken service would say.
#[test]
fn every_answer_is_told_and_every_answer_that_is_told_is_seen() {
    let mut scene = Scene::new(&["--body-wait", "200ms"]);
    let (ada, stranger) = (scene.service.client("ada"), scene.service.stranger());
    let as_json = [("content-type", "application/json")];
    let new = r#"{"title": "milk"}"#;

    let made = scene.ask(&ada, ("POST", TASKS, ""), &as_json, new);
    let location = made.header("location").to_owned();
    let id = location.rsplit('/').next().unwrap().to_owned();
    assert_eq!(location, format!("{TASKS}/{id}"));

    for (path, more) in [(TASKS, "?per_page=3"), (TASK, id.as_str())] {
        // One to fill the cache, one out of it, which has a name and an age.
        scene.ask(&ada, ("GET", path, more), &[], "");
        let kept = scene.ask(&ada, ("GET", path, more), &[], "");
        let etag = kept.header("etag").to_owned();
        assert!(kept.is_kept() && !etag.is_empty() && !kept.header("age").is_empty(), "{kept:?}");
        for (name, value, status) in [
            ("if-none-match", etag.as_str(), 304),
            ("range", "bytes=0-9", 206),
            ("range", "bytes=900000-", 416),
        ] {
            let answer = scene.ask(&ada, ("GET", path, more), &[(name, value)], "");
            assert_eq!(answer.status, status, "{answer:?}");
        }
        scene.ask(&ada, ("GET", path, &format!("{more}&x")), &[], "");
        scene.ask(&stranger, ("GET", path, more), &[], "");
    }
    scene.ask(&ada, ("GET", TASKS, "?page=0&status=late&sort=x"), &[], "");
    scene.ask(&ada, ("GET", TASK, "17"), &[], "");
    scene.ask(&ada, ("GET", TASK, NOBODYS), &[], "");
    let forged = Client::new(&scene.service.url, Some(format!("{}x", token("ada"))));
    scene.ask(&forged, ("GET", TASKS, ""), &[], "");

    let large = format!("{{\"title\": \"{}\"}}", "x".repeat(70_000));
    for (method, path, more) in
        [("POST", TASKS, ""), ("PATCH", TASK, id.as_str()), ("POST", TOKEN, "")]
    {
        for (headers, body, status) in [
            (&as_json[..], "[]", 400),
            (&as_json, "{}", 422),
            (&as_json, r#"{"title": 7, "pin": 1}"#, 422),
            (&as_json, large.as_str(), 413),
            (&[("content-type", "text/plain")], new, 415),
        ] {
            let answer = scene.ask(&ada, (method, path, more), headers, body);
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        }
        let path_sent = path.replace("{id}", &id);
        assert_eq!(of_one_who_trickles(&scene.service, method, &path_sent), 408);
        scene.seen.insert((path.to_owned(), method.to_ascii_lowercase(), "408".to_owned()));
    }
    scene.ask(&ada, ("PATCH", TASK, &id), &as_json, r#"{"status": "done"}"#);
    scene.ask(&ada, ("PATCH", TASK, NOBODYS), &as_json, r#"{"status": "done"}"#);
    for (more, status) in [("17", 400), (NOBODYS, 404), (id.as_str(), 204)] {
        assert_eq!(scene.ask(&ada, ("DELETE", TASK, more), &[], "").status, status);
    }
    for (method, path, more) in
        [("POST", TASKS, ""), ("PATCH", TASK, NOBODYS), ("DELETE", TASK, NOBODYS)]
    {
        let answer = scene.ask(&stranger, (method, path, more), &as_json, new);
        assert_eq!(answer.status, 401);
    }

    until("what was done is told", || {
        ada.get(ACTIVITY).body["items"].as_array().is_some_and(|items| items.len() == 3)
    });
    for (more, status) in [("?per_page=1", 200), ("", 200), ("?before=x", 400)] {
        assert_eq!(scene.ask(&ada, ("GET", ACTIVITY, more), &[], "").status, status);
    }
    for (more, status) in [("", 200), ("?best=0", 400)] {
        let answer = scene.ask(&ada, ("GET", LEADERBOARD, more), &[], "");
        assert_eq!(answer.status, status, "{answer:?}");
    }
    scene.ask(&ada, ("GET", ME, ""), &[], "");
    scene.ask(&ada, ("GET", ME, "?x"), &[], "");
    for path in [ACTIVITY, LEADERBOARD, ME] {
        scene.ask(&stranger, ("GET", path, ""), &[], "");
    }

    let login = r#"{"user": "ada", "password": "demo"}"#;
    scene.ask(&stranger, ("POST", TOKEN, ""), &as_json, login);
    scene.ask(&stranger, ("POST", TOKEN, ""), &as_json, &login.replace("demo", "guess"));
    scene.ask(&stranger, ("GET", "/healthz", ""), &[], "");
    scene.ask(&stranger, ("GET", "/readyz", ""), &[], "");

    // Another process holds the database, longer than a writer waits.
    let holder = rusqlite::Connection::open(scene.directory.database()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    for (method, path, more, body) in
        [("POST", TASKS, "", new), ("PATCH", TASK, NOBODYS, new), ("DELETE", TASK, NOBODYS, "")]
    {
        let answer = scene.ask(&ada, (method, path, more), &as_json, body);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
    }
    holder.execute_batch("ROLLBACK").unwrap();

    let mut told = BTreeSet::new();
    for (path, method, operation) in scene.operations() {
        for status in operation["responses"].as_object().unwrap().keys() {
            told.insert((path.clone(), method.clone(), status.clone()));
        }
    }
    let unseen = told.difference(&scene.seen);
    let unseen: Vec<_> =
        unseen.filter(|(path, method, status)| !is_out_of_reach(path, method, status)).collect();
    assert!(unseen.is_empty(), "told, and never answered: {unseen:?}");
}

/// Sends the head of a request and half of its body; the status of what is answered.
fn of_one_who_trickles(service: &Service, method: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{{\"title\"",
        token("ada")
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// What is not told of a path is 405 there, and what is told is in `Allow`.
#[test]
fn a_path_takes_the_methods_that_are_told_and_no_others() {
    let scene = Scene::new(&[]);
    let ada = scene.service.client("ada");
    let paths = scene.document.0["paths"].as_object().unwrap();
    assert!(paths.len() >= 8);
    for (path, item) in paths {
        let told: BTreeSet<String> =
            item.as_object().unwrap().keys().map(|method| method.to_ascii_uppercase()).collect();
        let sent = path.replace("{id}", NOBODYS);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = ada.send(method, &sent, &[("content-type", "application/json")], "{}");
            assert_eq!(answer.status != 405, told.contains(method), "{method} {path}: {answer:?}");
        }
        let refused = ada.send("PUT", &sent, &[], "");
        let allowed: BTreeSet<String> =
            refused.header("allow").split(',').map(str::to_owned).collect();
        let heads = told.contains("GET").then(|| "HEAD".to_owned());
        assert_eq!(allowed, told.into_iter().chain(heads).collect(), "{path}");
    }
}

#[test]
fn the_document_is_whole() {
    let scene = Scene::new(&[]);
    let document = &scene.document.0;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let tags: Vec<&Value> =
        document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in scene.operations() {
        let of = format!("{method} {path}");
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{of}: its id is another's"
        );
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{of}");
        assert!(
            operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(&tag)),
            "{of}"
        );
        let is_of_users = path.starts_with("/api/v1/") && path != TOKEN;
        let security = if is_of_users { json!([{ "token": [] }]) } else { Value::Null };
        assert_eq!(operation["security"], security, "{of}");
        assert_eq!(operation["responses"]["401"].is_object(), is_of_users || path == TOKEN, "{of}");
        for (status, answer) in operation["responses"].as_object().unwrap() {
            assert!(
                answer["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{of} {status}"
            );
            if status.parse::<u16>().unwrap() >= 400 && status != "416" {
                let schema = &answer["content"]["application/problem+json"]["schema"];
                assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{of} {status}");
            }
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let is_path = path.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap()));
            assert_eq!(parameter["in"] == "path", is_path, "{of}: {parameter}");
            assert!(!parameter["description"].as_str().unwrap().is_empty(), "{of}: {parameter}");
        }
    }
    let token = &document["components"]["securitySchemes"]["token"];
    assert_eq!((&token["type"], &token["scheme"]), (&json!("http"), &json!("bearer")));
    each_object(document, &mut |object| {
        scene.document.resolve(object);
    });
}

/// The numbers in the document are those that hold.
#[test]
fn every_bound_that_is_told_is_the_bound() {
    let scene = Scene::new(&[]);
    let ada = scene.service.client("ada");
    let list = &scene.document.0["paths"][TASKS]["get"]["parameters"];
    let mut counted = 0;
    for parameter in list.as_array().unwrap() {
        let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
        let status = |value: i64| ada.get(&format!("{TASKS}?{name}={value}")).status;
        if let (Some(least), Some(most)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64())
        {
            assert_eq!(
                [least - 1, least, most, most + 1].map(status),
                [400, 200, 200, 400],
                "{name}"
            );
            counted += 1;
            if let Some(unless_said) = schema["default"].as_i64() {
                assert_eq!(ada.get(TASKS).body[name], unless_said);
            }
        } else {
            let names = scene.document.resolve(schema)["enum"].as_array().unwrap();
            for value in names.iter().map(|name| name.as_str().unwrap()) {
                assert_eq!(ada.get(&format!("{TASKS}?{name}={value}")).status, 200);
            }
        }
    }
    assert_eq!(counted, 2);
    let new = &scene.document.0["components"]["schemas"]["NewTask"];
    for name in ["title", "description"] {
        let most = new["properties"][name]["maxLength"].as_u64().unwrap() as usize;
        for (chars, status) in [(most, 201), (most + 1, 422)] {
            let mut sent = json!({ "title": "x" });
            sent[name] = "ä".repeat(chars).into();
            assert_eq!(ada.post(TASKS, &sent).status, status, "{name} of {chars}");
            assert_eq!(scene.document.wrong(&sent, new).is_empty(), status == 201);
        }
    }
}

/// Each fits its own schema; and what is shown as a body is taken.
#[test]
fn every_example_is_one() {
    let scene = Scene::new(&[]);
    let mut examples = 0;
    let schemas = scene.document.0["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        each_object(schema, &mut |object| {
            let several = object.get("examples").and_then(Value::as_array).into_iter().flatten();
            for example in object.get("example").into_iter().chain(several) {
                assert_eq!(scene.document.wrong(example, object), [""; 0], "{name}");
                examples += 1;
            }
        });
    }
    assert!(examples >= 15, "{examples}");
    let ada = scene.service.client("ada");
    let made = ada.post(TASKS, &schemas["NewTask"]["examples"][0]);
    assert_eq!(made.status, 201, "{made:?}");
    let changed = ada.patch(made.header("location"), &schemas["TaskChange"]["examples"][0]);
    assert_eq!(changed.status, 200, "{changed:?}");
    let login = ["user", "password"]
        .map(|name| (name.to_owned(), schemas["Login"]["properties"][name]["example"].clone()));
    let given = ada.post(TOKEN, &Value::Object(login.into_iter().collect()));
    assert_eq!(given.status, 200, "{given:?}");
}

/// The demo's route is told of by a demo alone.
#[test]
fn the_document_is_of_the_process_that_is_asked() {
    let directory = Directory::new();
    let file = directory.database();
    let service = Service::start(&["--database", &file]);
    let paths = service.stranger().get("/docs/openapi.json").body["paths"].clone();
    assert!(paths[TASKS].is_object() && paths[TOKEN].is_null());
    assert!(Scene::new(&[]).document.0["paths"][TOKEN].is_object());
}

/// Whatever the page is made of comes from here, and its policy lets it ask nobody else.
#[test]
fn the_page_is_in_the_program() {
    let scene = Scene::new(&[]);
    let stranger = scene.service.stranger();
    let moved = stranger.get("/docs");
    assert!(moved.status == 200 && moved.header("content-type").starts_with("text/html"));
    let page = stranger.get("/docs/");
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    let html = page.body.as_str().unwrap();
    let named = ["src=\"", "href=\""].into_iter().flat_map(|begin| html.split(begin).skip(1));
    let files: Vec<&str> = named.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        assert!(!file.contains("//"), "{file} is elsewhere");
        let got = stranger.get(&format!("/docs/{}", file.trim_start_matches("./")));
        assert_eq!(got.status, 200, "{file}");
        assert_ne!(got.header("content-type"), "text/html", "{file}");
    }
    let shown = stranger.get("/docs/swagger-initializer.js").body;
    assert!(shown.as_str().unwrap().contains("/docs/openapi.json"));
    for nothing in ["/docs/x", "/docs/..%2fsecret", "/docs/a/b"] {
        let answer = stranger.get(nothing);
        assert_eq!((answer.status, answer.named().len()), (404, 0), "{nothing}");
    }
}

fn each_object(value: &Value, look: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            look(value);
            fields.values().for_each(|value| each_object(value, look));
        }
        Value::Array(values) => values.iter().for_each(|value| each_object(value, look)),
        _ => {}
    }
}
