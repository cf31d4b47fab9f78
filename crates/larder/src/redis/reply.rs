//! An answer as plain values, for those who do not name the client.

use ::redis::Value;

use crate::error::FarError;

/// What a server said.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    Nothing,
    Number(i64),
    /// A float too, in digits.
    Bytes(Vec<u8>),
    /// A map's keys and values take turns.
    List(Vec<Reply>),
}

impl From<Value> for Reply {
    fn from(value: Value) -> Reply {
        match value {
            Value::Int(number) => Reply::Number(number),
            Value::BulkString(bytes) => Reply::Bytes(bytes),
            Value::SimpleString(text) => Reply::Bytes(text.into_bytes()),
            Value::VerbatimString { text, .. } => Reply::Bytes(text.into_bytes()),
            Value::Okay => Reply::Bytes(b"OK".to_vec()),
            Value::Boolean(is) => Reply::Number(i64::from(is)),
            Value::Double(number) => Reply::Bytes(number.to_string().into_bytes()),
            Value::Array(list) | Value::Set(list) => {
                Reply::List(list.into_iter().map(Reply::from).collect())
            }
            Value::Map(pairs) => {
                let flat = pairs.into_iter().flat_map(|(key, value)| [key, value]);
                Reply::List(flat.map(Reply::from).collect())
            }
            _ => Reply::Nothing,
        }
    }
}

/// Without an error, for those who pass over what they cannot read.
impl Reply {
    /// A number, also one that was told as text.
    pub(crate) fn whole(&self) -> Option<i64> {
        match self {
            Reply::Number(number) => Some(*number),
            Reply::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// Text; what is none is shown with a mark in the place of what is not.
    pub(crate) fn shown(self) -> Option<String> {
        match self {
            Reply::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => None,
        }
    }

    /// What a list has; of anything else nothing.
    pub(crate) fn parts(self) -> Vec<Reply> {
        match self {
            Reply::List(all) => all,
            _ => Vec::new(),
        }
    }
}

impl Reply {
    pub(crate) fn number(self) -> Result<i64, FarError> {
        match self {
            Reply::Number(number) => Ok(number),
            _ => Err(odd()),
        }
    }

    /// A number that is none of less than nothing.
    pub(crate) fn count(self) -> Result<usize, FarError> {
        usize::try_from(self.number()?).map_err(|_| odd())
    }

    pub(crate) fn bytes(self) -> Result<Vec<u8>, FarError> {
        match self {
            Reply::Bytes(bytes) => Ok(bytes),
            _ => Err(odd()),
        }
    }

    /// The same, where there may be nothing.
    pub(crate) fn maybe_bytes(self) -> Result<Option<Vec<u8>>, FarError> {
        match self {
            Reply::Nothing => Ok(None),
            other => other.bytes().map(Some),
        }
    }

    pub(crate) fn text(self) -> Result<String, FarError> {
        String::from_utf8(self.bytes()?).map_err(|_| odd())
    }

    pub(crate) fn list(self) -> Result<Vec<Reply>, FarError> {
        match self {
            Reply::List(list) => Ok(list),
            _ => Err(odd()),
        }
    }

    /// A list of two.
    pub(crate) fn pair(self) -> Result<(Reply, Reply), FarError> {
        <[Reply; 2]>::try_from(self.list()?).map(|[one, two]| (one, two)).map_err(|_| odd())
    }
}

/// It answered, and nobody can say what: it may have done anything.
pub(crate) fn odd() -> FarError {
    FarError::Broken("its answer is of another kind than was asked for".to_owned())
}
