//! `"60s"`, or anything that is a `Duration`.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Error, Expr, ExprLit, Lit, Result};

/// What larder allows for a lifetime. It checks again: only what is written as text is known here.
const MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Each with its length in milliseconds.
const UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

pub(crate) struct Written {
    pub(crate) written: TokenStream,
    /// `None` for what is only known when it runs.
    known: Option<Duration>,
    at: Span,
}

pub(crate) fn of(time: &Expr) -> Result<Written> {
    let Expr::Lit(ExprLit { lit, .. }) = time else {
        let at = syn::spanned::Spanned::span(time);
        return Ok(Written { written: time.to_token_stream(), known: None, at });
    };
    let at = lit.span();
    let Lit::Str(text) = lit else {
        let text = "a duration is a text with its unit, \"60s\", or something that is a `Duration`";
        return Err(Error::new(at, text));
    };
    let known = parsed(&text.value()).map_err(|why| Error::new(at, why))?;
    let ms = u64::try_from(known.as_millis()).unwrap_or(u64::MAX);
    let written = quote!(::core::time::Duration::from_millis(#ms));
    Ok(Written { written, known: Some(known), at })
}

/// What is fresh and then stale has one life, and that is bounded too.
pub(crate) fn within_an_entrys_life(fresh: &Written, stale: &Written) -> Result<()> {
    match (fresh.known, stale.known) {
        (Some(first), Some(then)) if first + then > MOST => {
            Err(Error::new(stale.at, "`fresh_for` and `stale_for` together are at most 30 days"))
        }
        _ => Ok(()),
    }
}

fn parsed(text: &str) -> std::result::Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &text[..text.len() - unit.len()];
    let Some((_, each)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!(
            "`{text}` is no duration: a whole number and `ms`, `s`, `m`, `h` or `d`, such as \"60s\""
        ));
    };
    if number.is_empty() {
        return Err(format!(
            "`{text}` is no duration: the number is missing, such as \"60{unit}\""
        ));
    }
    let number = number.parse::<u64>().ok();
    let time = number.and_then(|number| number.checked_mul(*each)).map(Duration::from_millis);
    match time {
        Some(time) if !time.is_zero() && time <= MOST => Ok(time),
        _ => Err(format!("`{text}` is out of bounds: from 1 ms to 30 days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        let read = |text| parsed(text).unwrap();
        assert_eq!(read("1ms"), Duration::from_millis(1));
        assert_eq!(read("60s"), Duration::from_secs(60));
        assert_eq!(read("5m"), Duration::from_secs(300));
        assert_eq!(read("12h"), Duration::from_secs(12 * 3600));
        assert_eq!(read("30d"), MOST);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "60", "60 s", " 60s", "-1s", "1.5s", "60sec", "1h30m", "0s", "31d"] {
            assert!(parsed(text).is_err(), "{text:?}");
        }
        assert!(parsed("99999999999999999999s").unwrap_err().contains("bounds"));
        assert!(parsed("99999999999999999d").unwrap_err().contains("bounds"));
    }
}
