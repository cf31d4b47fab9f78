//! Who is asking: a JSON Web Token, verified, and the user it names.
//!
//! [`verified`] stands before every route that belongs to users. [`identified`], before all of the API, takes the token
//! out of the `Authorization` header and leaves a [`Session`] with the request: for the handler, and for the cache of
//! responses before it, which asks whose they are. There is no other way to one. Nothing about it is cached:
//! a token is verified anew each time, so what it may do ends when it ends. Only HS256 is
//! accepted, whatever the token says of itself.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::Problem;
use crate::settings::Secret;
use crate::state::App;
use crate::tasks::UserId;

/// How far two clocks may be apart, in seconds.
const LEEWAY_SECS: u64 = 5;

const NO_TOKEN: &str = r#"Bearer realm="task-api""#;
const BAD_TOKEN: &str = r#"Bearer realm="task-api", error="invalid_token""#;

/// A verified caller.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) user: UserId,
}

/// For a layer: leaves the [`Session`] of who is known, and lets in whoever it is.
pub(crate) async fn identified(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Ok(session) = app.sessions.session(request.headers()) {
        request.extensions_mut().insert(session);
    }
    next.run(request).await
}

/// For a layer: lets nobody in who is not known, and leaves the [`Session`] of who is.
pub(crate) async fn verified(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let session = match request.extensions_mut().remove::<Session>() {
        Some(session) => session,
        None => app.sessions.session(request.headers())?,
    };
    app.tasks.seen().note(&session.user);
    request.extensions_mut().insert(session);
    Ok(next.run(request).await)
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Problem;

    /// What [`verified`] left. Where it does not stand before the route nobody is let in.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Session, Problem> {
        let session = parts.extensions.get::<Session>().cloned();
        session.ok_or_else(|| Problem::internal(&"a route takes a session that nobody verified"))
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

/// What is read of a token. Takes everything: were it to refuse a claim that is missing, it would do so
/// before the validation, which says which one.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    sub: Value,
}

/// Verifies tokens, and signs them for the demo.
pub(crate) struct Sessions {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl Sessions {
    pub(crate) fn new(secret: &Secret) -> Sessions {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.leeway = LEEWAY_SECS;
        validation.validate_nbf = true;
        Sessions {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    /// Who sends these headers.
    fn session(&self, headers: &HeaderMap) -> Result<Session, Problem> {
        let sent = headers.get(header::AUTHORIZATION).and_then(|sent| sent.to_str().ok());
        let token = sent.and_then(|sent| sent.split_once(' ')).and_then(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let Some(token) = token else {
            let detail = "send a token: `Authorization: Bearer <token>`";
            return Err(Problem::unauthorized(detail, NO_TOKEN));
        };
        let user = self.verify(token).map_err(|why| {
            Problem::unauthorized(format!("the token is refused: {why}"), BAD_TOKEN)
        })?;
        Ok(Session { user })
    }

    /// The user a token names.
    ///
    /// # Errors
    /// What is wrong with the token, in words that may be shown to whoever sent it.
    pub(crate) fn verify(&self, token: &str) -> Result<UserId, &'static str> {
        use jsonwebtoken::errors::ErrorKind;
        let decoded = jsonwebtoken::decode::<Named>(token, &self.decoding, &self.validation);
        let named = decoded.map_err(|why| match why.kind() {
            ErrorKind::ExpiredSignature => "it has expired",
            ErrorKind::ImmatureSignature => "it is not valid yet",
            ErrorKind::InvalidSignature => "its signature is wrong",
            ErrorKind::InvalidAlgorithm => "it is not signed with HS256",
            ErrorKind::InvalidAudience => "it is meant for another service",
            ErrorKind::MissingRequiredClaim(claim) if claim == "exp" => {
                "its claim `exp` is missing, or is no time in seconds"
            }
            ErrorKind::MissingRequiredClaim(_) => "its claim `sub` is missing, or is no text",
            _ => "it cannot be read",
        })?;
        let user = named.claims.sub.as_str().and_then(UserId::new);
        user.ok_or("its claim `sub` names no user")
    }

    /// A token for `user` that ends in `lifetime_secs`.
    ///
    /// # Errors
    /// When the signing itself fails.
    pub(crate) fn sign(
        &self,
        user: &UserId,
        lifetime_secs: u64,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let exp = jsonwebtoken::get_current_timestamp().saturating_add(lifetime_secs);
        let claims = Claims { sub: user.as_str(), exp };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "a secret of more than thirty-two bytes";

    fn sessions() -> Sessions {
        Sessions::new(&Secret::new(SECRET).unwrap())
    }

    fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn in_secs(secs: i64) -> i64 {
        i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap() + secs
    }

    fn refused(token: &str) -> &'static str {
        sessions().verify(token).unwrap_err()
    }

    #[test]
    fn a_token_names_its_user() {
        let ada = UserId::new("ada").unwrap();
        let token = sessions().sign(&ada, 60).unwrap();
        assert_eq!(sessions().verify(&token), Ok(ada));
    }

    #[test]
    fn another_secret_or_algorithm_is_refused() {
        let claims = json!({ "sub": "ada", "exp": in_secs(60) });
        let forged = signed(Algorithm::HS256, "another secret of over thirty-two bytes", &claims);
        assert_eq!(refused(&forged), "its signature is wrong");
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let token = signed(algorithm, SECRET, &claims);
            assert_eq!(refused(&token), "it is not signed with HS256");
        }
    }

    /// `{"alg":"none"}` with an empty signature: the oldest trick.
    #[test]
    fn an_unsigned_token_is_refused() {
        let signed = signed(Algorithm::HS256, SECRET, &json!({ "sub": "ada", "exp": in_secs(60) }));
        let claims = signed.split('.').nth(1).unwrap();
        for none in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOT05FIn0"] {
            refused(&format!("{none}.{claims}."));
            refused(&format!("{none}.{claims}"));
        }
        let (without, _) = signed.rsplit_once('.').unwrap();
        refused(&format!("{without}."));
    }

    #[test]
    fn a_token_ends() {
        let old = signed(Algorithm::HS256, SECRET, &json!({ "sub": "ada", "exp": in_secs(-60) }));
        assert_eq!(refused(&old), "it has expired");
        let early = json!({ "sub": "ada", "exp": in_secs(60), "nbf": in_secs(30) });
        assert_eq!(refused(&signed(Algorithm::HS256, SECRET, &early)), "it is not valid yet");
    }

    /// Once such a token "cannot be read", and whoever had made it had to guess: it was taken for one
    /// that is no token at all. Now the claim is named.
    #[test]
    fn a_token_without_an_end_or_a_user_is_refused_and_the_claim_named() {
        let long = "x".repeat(1000);
        for (claims, named) in [
            (json!({ "sub": "ada" }), "`exp` is missing"),
            (json!({ "sub": "ada", "exp": null }), "`exp` is missing"),
            (json!({ "sub": "ada", "exp": "tomorrow" }), "`exp` is missing, or is no time"),
            (json!({ "sub": "ada", "exp": -1 }), "`exp`"),
            (json!({ "exp": in_secs(60) }), "`sub` is missing"),
            (json!({ "sub": null, "exp": in_secs(60) }), "`sub` is missing"),
            (json!({ "sub": 17, "exp": in_secs(60) }), "`sub` is missing, or is no text"),
            (json!({ "sub": "", "exp": in_secs(60) }), "`sub` names no user"),
            (json!({ "sub": "a\nb", "exp": in_secs(60) }), "`sub` names no user"),
            (json!({ "sub": long, "exp": in_secs(60) }), "`sub` names no user"),
            (json!({ "sub": "ada", "exp": in_secs(60), "aud": "x" }), "another service"),
        ] {
            let why = refused(&signed(Algorithm::HS256, SECRET, &claims));
            assert!(why.contains(named), "{claims}: {why}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", ".", "..", "...", "a.b.c", "ä.ö.ü", "eyJhbGciOiJIUzI1NiJ9..", "null"] {
            refused(text);
        }
    }
}
