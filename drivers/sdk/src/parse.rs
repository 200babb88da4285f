//! Text values into whatever the fields of a driver's configuration are, with errors that name the key.

use std::fmt::{self, Display};

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

use crate::settings::SettingError;

/// A key and its text.
pub(crate) struct Entry {
    key: String,
    value: String,
    secret: bool,
}

impl Entry {
    pub(crate) fn new(key: &str, value: &str, secret: bool) -> Self {
        Self {
            key: key.to_owned(),
            value: value.to_owned(),
            secret,
        }
    }
}

/// Reads the configuration from all entries.
pub(crate) fn config<C: DeserializeOwned>(entries: Vec<Entry>) -> Result<C, SettingError> {
    let pairs = entries.into_iter().map(|entry| (entry.key.clone(), Text(entry)));
    C::deserialize(MapDeserializer::<_, ParseError>::new(pairs)).map_err(|e| e.0)
}

/// serde's errors on their way to a [`SettingError`].
#[derive(Debug)]
struct ParseError(SettingError);

impl Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl std::error::Error for ParseError {}

impl de::Error for ParseError {
    fn custom<T: Display>(problem: T) -> Self {
        Self(SettingError::invalid("", problem))
    }
    fn unknown_field(key: &str, allowed: &'static [&'static str]) -> Self {
        Self(SettingError::Unknown {
            key: key.to_owned(),
            allowed: allowed.join(", "),
        })
    }
    fn missing_field(key: &'static str) -> Self {
        Self(SettingError::Missing(key.to_owned()))
    }
}

/// A value that becomes what the field asks for.
struct Text(Entry);

impl Text {
    fn fail(&self, problem: impl Display) -> ParseError {
        ParseError(match self.0.secret {
            true => SettingError::invalid(&self.0.key, format!("the secret value {problem}")),
            false => SettingError::invalid(&self.0.key, format!("{:?} {problem}", self.0.value)),
        })
    }
    /// Adds the key to an error of the field's own code, and drops texts that might repeat a secret.
    fn named<V>(key: &str, secret: bool, result: Result<V, ParseError>) -> Result<V, ParseError> {
        result.map_err(|error| match error.0 {
            SettingError::Invalid { key: inner, .. } if secret && inner.is_empty() => {
                ParseError(SettingError::invalid(key, "the secret value cannot be used"))
            }
            SettingError::Invalid { key: inner, problem } if inner.is_empty() => {
                ParseError(SettingError::invalid(key, problem))
            }
            other => ParseError(other),
        })
    }
}

impl<'de> IntoDeserializer<'de, ParseError> for Text {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
            match self.0.value.trim().parse::<$type>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(self.fail(format_args!(
                    "is not a whole number from {} to {}", <$type>::MIN, <$type>::MAX
                ))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Text {
    type Error = ParseError;

    whole_numbers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
        let Entry { key, value, secret } = self.0;
        Self::named(&key, secret, visitor.visit_string(value))
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
        match self.0.value.trim() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(self.fail("is neither true nor false")),
        }
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
        match self.0.value.trim().parse() {
            Ok(number) => visitor.visit_f64(number),
            Err(_) => Err(self.fail("is not a number")),
        }
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParseError> {
        visitor.visit_newtype_struct(self)
    }
    /// A list is written with commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParseError> {
        let Entry { key, value, secret } = self.0;
        let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
        let items: Vec<Text> = items.map(|item| Text(Entry::new(&key, item, secret))).collect();
        Self::named(
            &key,
            secret,
            visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
        )
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParseError> {
        if !variants.contains(&self.0.value.as_str()) {
            return Err(self.fail(format_args!("is not one of {}", variants.join(", "))));
        }
        let value: StringDeserializer<ParseError> = self.0.value.into_deserializer();
        visitor.visit_enum(value)
    }

    serde::forward_to_deserialize_any! {
        f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
        ignored_any
    }
}
