//! The API's document, and values held against its schemas.
//!
//! It knows the keywords that the document uses, and panics at any other: a rule that is not looked at must
//! not look kept.

use serde_json::Value;

pub(crate) struct Document(pub(crate) Value);

impl Document {
    /// Follows a `$ref`.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(at) => {
                let at = at.strip_prefix('#').unwrap();
                self.0.pointer(at).unwrap_or_else(|| panic!("{at} is not in the document"))
            }
            None => schema,
        }
    }

    /// What is wrong with a value; nothing if all is well.
    pub(crate) fn wrong(&self, value: &Value, schema: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        self.look(value, schema, "", &mut wrong);
        wrong
    }

    fn look(&self, value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
        let schema = self.resolve(schema);
        for (keyword, rule) in schema.as_object().unwrap() {
            let mut must = |is: bool| {
                if !is {
                    wrong.push(format!("{at}: {value} breaks {keyword} {rule}"));
                }
            };
            let chars = || value.as_str().map_or(0, |text| text.chars().count() as u64);
            match keyword.as_str() {
                "description" | "example" | "examples" | "default" | "title" => {}
                "type" => must(is_of(value, rule)),
                "enum" => must(rule.as_array().unwrap().contains(value)),
                "format" => must(value.as_str().is_none_or(|text| has_form(text, rule))),
                "minLength" => must(!value.is_string() || chars() >= rule.as_u64().unwrap()),
                "maxLength" => must(!value.is_string() || chars() <= rule.as_u64().unwrap()),
                "minimum" => must(value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap())),
                "maximum" => must(value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap())),
                "minProperties" => {
                    let has = value.as_object().map_or(0, |fields| fields.len() as u64);
                    must(has >= rule.as_u64().unwrap());
                }
                "required" => rule.as_array().unwrap().iter().for_each(|name| {
                    let name = name.as_str().unwrap();
                    must(value.as_object().is_none_or(|fields| fields.contains_key(name)));
                }),
                "additionalProperties" => assert_eq!(rule, false),
                "properties" => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        let at = format!("{at}/{name}");
                        match rule.get(name) {
                            Some(schema) => self.look(value, schema, &at, wrong),
                            // More than is told is as untrue as less, whatever the schema allows.
                            None => wrong.push(format!("{at} is not told of")),
                        }
                    }
                }
                "items" => {
                    value.as_array().into_iter().flatten().enumerate().for_each(|(nth, value)| {
                        self.look(value, rule, &format!("{at}/{nth}"), wrong);
                    })
                }
                "oneOf" => {
                    let fits = |schema: &&Value| self.wrong(value, schema).is_empty();
                    must(rule.as_array().unwrap().iter().filter(fits).count() == 1);
                }
                _ => panic!("{at}: nobody looks at {keyword}"),
            }
        }
    }
}

fn is_of(value: &Value, kinds: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        kind => panic!("{kind} is no type"),
    };
    kinds.as_array().map_or_else(|| is(kinds), |kinds| kinds.iter().any(is))
}

fn has_form(text: &str, form: &Value) -> bool {
    match form.as_str().unwrap() {
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        form => panic!("nobody looks at the format {form}"),
    }
}
