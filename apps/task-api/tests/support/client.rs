//! One user's view of one process, over HTTP.

use serde_json::Value;
use ureq::http::{Request, StatusCode};

use super::PATIENCE;

/// Sends requests with one user's token.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
    /// Who is asked by name; the address in the URL unless said.
    host: Option<&'static str>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    headers: ureq::http::HeaderMap,
}

impl Client {
    pub(crate) fn new(url: &str, token: Option<String>) -> Client {
        let settings = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_idle_connections(0)
            .build();
        Client { agent: settings.into(), url: url.to_owned(), token, host: None }
    }

    /// As one asks who knows the fleet by its name, and not this process by its port.
    pub(crate) fn by_name(self, host: &'static str) -> Client {
        Client { host: Some(host), ..self }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], &body.to_string())
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, &[("content-type", "application/json")], &body.to_string())
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(host) = self.host {
            request = request.header("host", host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = if body.is_empty() {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body.to_owned()).unwrap())
        };
        let mut answer = answer.unwrap_or_else(|why| panic!("{method} {path}: {why}"));
        let bytes = answer.body_mut().with_config().limit(8 << 20).read_to_vec().unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let body = match text.is_empty() {
            true => Value::Null,
            false if kind.ends_with("json") && status != 206 => {
                serde_json::from_str(&text).unwrap()
            }
            false => Value::String(text),
        };
        Answer { status, body, headers }
    }

    /// Makes a task, and gives the path it has.
    pub(crate) fn create(&self, title: &str) -> String {
        let answer = self.post("/api/v1/tasks", &serde_json::json!({ "title": title }));
        assert_eq!(answer.status, StatusCode::CREATED.as_u16(), "{answer:?}");
        answer.header("location").to_owned()
    }

    /// The titles on a page, in order.
    pub(crate) fn titles(&self, query: &str) -> Vec<String> {
        self.get(&format!("/api/v1/tasks{query}")).titles()
    }
}

impl Answer {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The names of all headers.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(|name| name.as_str())
    }

    pub(crate) fn x_cache(&self) -> &str {
        self.header("x-cache")
    }

    /// Was this answer kept as a whole, so that no handler was asked? It may have been on its way into the
    /// cache when it was asked for.
    pub(crate) fn is_kept(&self) -> bool {
        let status = self.header("cache-status");
        status.starts_with("larder; hit") || status.ends_with("; collapsed")
    }

    /// Did this answer ask the database?
    pub(crate) fn asked_database(&self) -> bool {
        self.header("server-timing").contains("db;dur=")
    }

    /// Was it found there: near, far, loaded?
    pub(crate) fn came_from(&self, place: &str) -> bool {
        self.header("server-timing").contains(&format!("cache;desc=\"{place}\""))
    }

    pub(crate) fn titles(&self) -> Vec<String> {
        let tasks = self.body["tasks"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        tasks.iter().map(|task| task["title"].as_str().unwrap().to_owned()).collect()
    }

    /// The fields a problem names. Whatever else a problem must be is looked at here.
    pub(crate) fn named(&self) -> Vec<&str> {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status);
        for member in ["type", "title", "detail"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }
}
