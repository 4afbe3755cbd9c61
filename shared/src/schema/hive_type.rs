//! Hive type text ↔ [`HiveType`]: `array<struct<sku:string,price:decimal(10,2)>>`.
//!
//! Types are read in lower case or upper case and printed in lower case without spaces. Names of
//! struct fields are taken as they stand up to the next `:`; whether they are good names is for
//! [`super::names`] to say, so that its message can show the renamed field.

use std::fmt;
use std::str::FromStr;

use super::types::{HiveType, StructField};

/// Deeper types are refused: Athena and the Parquet readers recurse, and so do we.
const MAX_DEPTH: usize = 32;

/// A type text that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type `{text}`, position {position}: {problem}")]
pub struct HiveTypeError {
    /// The whole type text.
    pub text: String,
    /// Byte position, counted from 1.
    pub position: usize,
    /// What was expected and found.
    pub problem: String,
}

impl FromStr for HiveType {
    type Err = HiveTypeError;

    fn from_str(text: &str) -> Result<Self, HiveTypeError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let ty = parser.ty()?;
        parser.space();
        match parser.rest().chars().next() {
            None => Ok(ty),
            Some(c) => Err(parser.error(format!("expected the end of the type, found `{c}`"))),
        }
    }
}

impl fmt::Display for HiveType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HiveType::Boolean => f.write_str("boolean"),
            HiveType::TinyInt => f.write_str("tinyint"),
            HiveType::SmallInt => f.write_str("smallint"),
            HiveType::Int => f.write_str("int"),
            HiveType::BigInt => f.write_str("bigint"),
            HiveType::Float => f.write_str("float"),
            HiveType::Double => f.write_str("double"),
            HiveType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            HiveType::String => f.write_str("string"),
            HiveType::Varchar(n) => write!(f, "varchar({n})"),
            HiveType::Char(n) => write!(f, "char({n})"),
            HiveType::Timestamp => f.write_str("timestamp"),
            HiveType::Date => f.write_str("date"),
            HiveType::Binary => f.write_str("binary"),
            HiveType::Array(item) => write!(f, "array<{item}>"),
            HiveType::Map(key, value) => write!(f, "map<{key},{value}>"),
            HiveType::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", field.name, field.ty)?;
                }
                f.write_str(">")
            }
        }
    }
}

impl HiveType {
    /// Whether values are text (`string`, `varchar(n)`, `char(n)`).
    pub fn is_text(&self) -> bool {
        matches!(self, HiveType::String | HiveType::Varchar(_) | HiveType::Char(_))
    }

    /// Whether values are whole numbers.
    pub fn is_integer(&self) -> bool {
        matches!(self, HiveType::TinyInt | HiveType::SmallInt | HiveType::Int | HiveType::BigInt)
    }

    /// Whether values are times (`timestamp`, `date`).
    pub fn is_time(&self) -> bool {
        matches!(self, HiveType::Timestamp | HiveType::Date)
    }

    /// Whether `test` holds for this type or for one nested in it.
    pub fn any(&self, test: &dyn Fn(&HiveType) -> bool) -> bool {
        test(self)
            || match self {
                HiveType::Array(item) => item.any(test),
                HiveType::Map(key, value) => key.any(test) || value.any(test),
                HiveType::Struct(fields) => fields.iter().any(|f| f.ty.any(test)),
                _ => false,
            }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn ty(&mut self) -> Result<HiveType, HiveTypeError> {
        self.space();
        let start = self.at;
        let word = self.word().to_ascii_lowercase();
        let ty = match word.as_str() {
            "boolean" => HiveType::Boolean,
            "tinyint" => HiveType::TinyInt,
            "smallint" => HiveType::SmallInt,
            "int" => HiveType::Int,
            "bigint" => HiveType::BigInt,
            "float" => HiveType::Float,
            "double" => HiveType::Double,
            "string" => HiveType::String,
            "timestamp" => HiveType::Timestamp,
            "date" => HiveType::Date,
            "binary" => HiveType::Binary,
            "decimal" => self.decimal()?,
            "varchar" => HiveType::Varchar(self.length(65_535)?),
            "char" => HiveType::Char(self.length(255)?),
            "array" | "map" | "struct" => self.nested(&word)?,
            _ => {
                self.at = start;
                return Err(self.unknown(&word));
            }
        };
        Ok(ty)
    }

    fn nested(&mut self, word: &str) -> Result<HiveType, HiveTypeError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} types")));
        }
        self.depth += 1;
        self.expect('<')?;
        let ty = match word {
            "array" => HiveType::Array(Box::new(self.ty()?)),
            "map" => {
                self.space();
                let start = self.at;
                let key = self.ty()?;
                if key != HiveType::String {
                    self.at = start;
                    return Err(self.error(format!(
                        "a map key is `string` (keys of a JSON object are text), found `{key}`"
                    )));
                }
                self.expect(',')?;
                HiveType::Map(Box::new(key), Box::new(self.ty()?))
            }
            _ => HiveType::Struct(self.fields()?),
        };
        self.expect('>')?;
        self.depth -= 1;
        Ok(ty)
    }

    fn fields(&mut self) -> Result<Vec<StructField>, HiveTypeError> {
        let mut fields: Vec<StructField> = Vec::new();
        loop {
            self.space();
            let start = self.at;
            let rest = self.rest();
            let end = rest.find([':', '<', '>', ',']).unwrap_or(rest.len());
            let name = rest[..end].trim().to_owned();
            if name.is_empty() {
                return Err(self.error("expected the name of a struct field, as `struct<name:type>`"));
            }
            if fields.iter().any(|f| f.name == name) {
                return Err(self.error(format!("field `{name}` stands twice in the struct")));
            }
            self.at = start + end;
            self.expect(':')?;
            fields.push(StructField { key: name.clone(), name, ty: self.ty()? });
            self.space();
            if !self.rest().starts_with(',') {
                return Ok(fields);
            }
            self.at += 1;
        }
    }

    fn decimal(&mut self) -> Result<HiveType, HiveTypeError> {
        self.space();
        if !self.rest().starts_with('(') {
            return Err(self.error("expected the digits, as `decimal(10,2)`"));
        }
        self.at += 1;
        let precision = self.number(1, 38, "precision")?;
        self.expect(',')?;
        let scale = self.number(0, precision, "scale")?;
        self.expect(')')?;
        Ok(HiveType::Decimal { precision: precision as u8, scale: scale as u8 })
    }

    fn length(&mut self, max: u32) -> Result<u32, HiveTypeError> {
        self.expect('(')?;
        let n = self.number(1, max, "length")?;
        self.expect(')')?;
        Ok(n)
    }

    fn number(&mut self, min: u32, max: u32, what: &str) -> Result<u32, HiveTypeError> {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let found = &rest[..end];
        match found.parse::<u32>() {
            Ok(n) if (min..=max).contains(&n) => {
                self.at += end;
                Ok(n)
            }
            _ => {
                let found = if found.is_empty() { self.found() } else { format!("`{found}`") };
                Err(self.error(format!("expected a {what} from {min} to {max}, found {found}")))
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn expect(&mut self, c: char) -> Result<(), HiveTypeError> {
        self.space();
        if self.rest().starts_with(c) {
            self.at += c.len_utf8();
            return Ok(());
        }
        let found = self.found();
        Err(self.error(format!("expected `{c}`, found {found}")))
    }

    fn found(&self) -> String {
        self.rest().chars().next().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"))
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn unknown(&self, word: &str) -> HiveTypeError {
        let instead = match word {
            "integer" | "int32" => Some("int"),
            "long" | "int64" => Some("bigint"),
            "text" | "json" => Some("string"),
            "bool" => Some("boolean"),
            "real" => Some("float"),
            "numeric" | "number" => Some("decimal(10,2)"),
            "datetime" => Some("timestamp"),
            "bytes" | "varbinary" => Some("binary"),
            "list" => Some("array<…>"),
            "row" | "object" => Some("struct<…>"),
            _ => None,
        };
        let found = if word.is_empty() { self.found() } else { format!("`{word}`") };
        self.error(match instead {
            Some(instead) => format!("no Hive type {found}; write `{instead}`"),
            None => format!("expected a Hive type, found {found}"),
        })
    }

    fn error(&self, problem: impl Into<String>) -> HiveTypeError {
        HiveTypeError { text: self.text.to_owned(), position: self.at + 1, problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_are_printed_as_they_were_read() {
        for text in [
            "boolean",
            "tinyint",
            "smallint",
            "int",
            "bigint",
            "float",
            "double",
            "decimal(10,2)",
            "decimal(38,38)",
            "string",
            "varchar(65535)",
            "char(3)",
            "timestamp",
            "date",
            "binary",
            "array<int>",
            "map<string,array<double>>",
            "struct<a:int,b:struct<c:string>>",
            "array<struct<sku:string,qty:int,price:decimal(10,2)>>",
        ] {
            assert_eq!(text.parse::<HiveType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn spaces_and_upper_case_are_read_and_not_printed() {
        let ty: HiveType = " STRUCT< a : Int , b:Array< Decimal( 10 , 2 ) > > ".parse().unwrap();
        assert_eq!(ty.to_string(), "struct<a:int,b:array<decimal(10,2)>>");
    }

    #[test]
    fn errors_say_where_and_what() {
        let deep = format!("{}int{}", "array<".repeat(33), ">".repeat(33));
        for (text, position, problem) in [
            ("", 1, "expected a Hive type, found the end"),
            ("integer", 1, "no Hive type `integer`; write `int`"),
            ("array<long>", 7, "no Hive type `long`; write `bigint`"),
            ("array<int", 10, "expected `>`, found the end"),
            ("array", 6, "expected `<`, found the end"),
            ("int>", 4, "expected the end of the type, found `>`"),
            ("decimal", 8, "expected the digits, as `decimal(10,2)`"),
            ("decimal(39,2)", 9, "expected a precision from 1 to 38, found `39`"),
            ("decimal(5,6)", 11, "expected a scale from 0 to 5, found `6`"),
            ("decimal(5)", 10, "expected `,`, found `)`"),
            ("varchar(0)", 9, "expected a length from 1 to 65535, found `0`"),
            ("char(x)", 6, "expected a length from 1 to 255, found `x`"),
            ("map<int,string>", 5, "a map key is `string` (keys of a JSON object are text), found `int`"),
            ("struct<>", 8, "expected the name of a struct field, as `struct<name:type>`"),
            ("struct<a>", 9, "expected `:`, found `>`"),
            ("struct<a:int,a:int>", 14, "field `a` stands twice in the struct"),
            ("struct<a:int,>", 14, "expected the name of a struct field, as `struct<name:type>`"),
            ("uniontype<int>", 1, "expected a Hive type, found `uniontype`"),
            (&deep, 198, "nested deeper than 32 types"),
        ] {
            let error = text.parse::<HiveType>().unwrap_err();
            assert_eq!((error.position, error.problem.as_str()), (position, problem), "{text}");
        }
    }

    fn any_type() -> impl Strategy<Value = HiveType> {
        let leaf = prop_oneof![
            Just(HiveType::Boolean),
            Just(HiveType::BigInt),
            Just(HiveType::String),
            Just(HiveType::Timestamp),
            (1u32..65_536).prop_map(HiveType::Varchar),
            (1u8..=38).prop_flat_map(|precision| {
                (0..=precision).prop_map(move |scale| HiveType::Decimal { precision, scale })
            }),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            let fields = proptest::collection::vec(inner.clone(), 1..5).prop_map(|types| {
                let fields = types.into_iter().enumerate().map(|(i, ty)| StructField {
                    name: format!("f{i}"),
                    key: format!("f{i}"),
                    ty,
                });
                HiveType::Struct(fields.collect())
            });
            prop_oneof![
                inner.clone().prop_map(|item| HiveType::Array(Box::new(item))),
                inner.prop_map(|value| HiveType::Map(Box::new(HiveType::String), Box::new(value))),
                fields,
            ]
        })
    }

    proptest! {
        #[test]
        fn every_type_is_read_back_as_printed(ty in any_type()) {
            prop_assert_eq!(ty.to_string().parse::<HiveType>(), Ok(ty));
        }

        #[test]
        fn no_text_panics_and_errors_stay_inside_it(text in "[a-z<>(),: 0-9é]{0,40}|\\PC*") {
            if let Err(error) = text.parse::<HiveType>() {
                prop_assert!((1..=text.len() + 1).contains(&error.position));
            }
        }
    }
}
