//! How records are written as JSON and read from JSON or YAML: serde, without its derive macros, which alone took a
//! tenth of the first build of the runner (docs/benchmarks.md).
//!
//! ```text
//! written!(Step { verb, object, kind as "storageType" });          // Serialize
//! read!(Storage { name, kind as "storageType", enabled or true }); // Deserialize
//! words!(Code { Usage = "usage", NotFound = "not_found" });        // as_str, Display and Serialize
//! ```
//!
//! A field is called what it is called in Rust unless `as` says otherwise. A field with `or` may be missing; any other
//! may not. Unknown keys pass, a key that comes twice does not, and errors keep the place that the parser knows.

#[doc(hidden)]
pub use serde;

/// `Serialize` for a struct: its fields in this order.
#[macro_export]
macro_rules! written {
    ($type:ty { $($field:ident $(as $key:literal)?),+ $(,)? }) => {
        impl $crate::record::serde::Serialize for $type {
            fn serialize<S: $crate::record::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use $crate::record::serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $(map.serialize_entry($crate::key!($field $($key)?), &self.$field)?;)+
                map.end()
            }
        }
    };
}

/// `Deserialize` for a struct.
#[macro_export]
macro_rules! read {
    ($type:ident { $($field:ident $(as $key:literal)? $(or $default:expr)?),+ $(,)? }) => {
        impl<'de> $crate::record::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::record::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use $crate::record::serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

                struct Fields;

                impl<'de> Visitor<'de> for Fields {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a record of ", stringify!($type)))
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$type, A::Error> {
                        $(let mut $field = None;)+
                        while let Some(key) = map.next_key::<String>()? {
                            match key.as_str() {
                                $(key if key == $crate::key!($field $($key)?) => {
                                    if $field.replace(map.next_value()?).is_some() {
                                        return Err(A::Error::duplicate_field($crate::key!($field $($key)?)));
                                    }
                                })+
                                _ => drop(map.next_value::<IgnoredAny>()?),
                            }
                        }
                        Ok($type { $($field: $crate::or!($field, $crate::key!($field $($key)?) $(, $default)?),)+ })
                    }
                }

                deserializer.deserialize_map(Fields)
            }
        }
    };
}

/// The words of an enumeration without values.
#[macro_export]
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Each of them, in this order.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The word used in text and in JSON.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $word,)+
                }
            }
        }

        impl $crate::record::serde::Serialize for $type {
            fn serialize<S: $crate::record::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

/// What a field is called outside.
#[doc(hidden)]
#[macro_export]
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// The value of a field that was read, or what stands for it.
#[doc(hidden)]
#[macro_export]
macro_rules! or {
    ($value:ident, $key:expr) => {
        $value.ok_or_else(|| A::Error::missing_field($key))?
    };
    ($value:ident, $key:expr, $default:expr) => {
        $value.unwrap_or_else(|| $default)
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[derive(Debug, PartialEq)]
    struct Disk {
        name: String,
        kind: String,
        shared: bool,
    }

    crate::written!(Disk { name, kind as "storageType", shared });
    crate::read!(Disk { name, kind as "storageType", shared or true });

    fn disk(text: &str) -> Result<Disk, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_record_is_written_and_read_by_its_names() {
        let read = disk(r#"{"storageType": "rbd", "unknown": [1], "name": "a"}"#).unwrap();
        assert_eq!(read, Disk { name: "a".into(), kind: "rbd".into(), shared: true });
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"name":"a","storageType":"rbd","shared":true}"#);
    }

    #[test]
    fn what_is_missing_twice_there_or_of_another_kind_is_named_with_its_place() {
        assert_eq!(disk(r#"{"name": "a"}"#).unwrap_err(), "missing field `storageType` at line 1 column 13");
        let twice = disk(r#"{"name": "a", "name": "b", "storageType": ""}"#).unwrap_err();
        assert!(twice.starts_with("duplicate field `name` at line 1"), "{twice}");
        let kind = disk("{\"name\": \"a\",\n\"storageType\": 1}").unwrap_err();
        assert!(kind.starts_with("invalid type: integer `1`, expected a string at line 2"), "{kind}");
        assert!(disk("[]").unwrap_err().contains("expected a record of Disk"));
    }

    #[derive(Clone, Copy)]
    enum Answer {
        NotFound,
    }

    crate::words!(Answer { NotFound = "not_found" });

    #[test]
    fn an_enumeration_is_its_words() {
        assert_eq!(json!(Answer::ALL), json!(["not_found"]));
        assert_eq!(json!([Answer::NotFound]), json!(["not_found"]));
    }
}
