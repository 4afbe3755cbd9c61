//! Table and layout → the plan that both paths of decode follow: which key goes where, as what.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::columns::{Field, FieldKind, Layout};
use crate::error::{Error, Result};
use crate::schema::{Column, HiveType, Pattern, TableSchema, TimeFormat, Transform};

use crate::number;
use crate::unpack::CHANGE_FIELDS;

/// What a leaf takes.
#[derive(Debug, Clone)]
pub(crate) enum LeafKind {
    Bool,
    Int32 { min: i32, max: i32 },
    Int64,
    Float,
    Double,
    Decimal { precision: u8, scale: u8 },
    Text { max_chars: Option<u32> },
    Json,
    Timestamp(TimeFormat),
    Date(TimeFormat),
    Binary,
}

/// Bounds in the unit of the leaf: micros, days, unscaled decimal, integer, or a float.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    Whole(i128),
    Real(f64),
}

/// Constraints and transforms of a scalar column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) min: Option<Bound>,
    pub(crate) max: Option<Bound>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) allowed: Option<Vec<String>>,
    pub(crate) max_length: Option<usize>,
    pub(crate) transforms: Vec<Transform>,
}

impl Rules {
    pub(crate) fn is_empty(&self) -> bool {
        self.min.is_none()
            && self.max.is_none()
            && self.pattern.is_none()
            && self.allowed.is_none()
            && self.max_length.is_none()
            && self.transforms.is_empty()
    }
}

/// One field of the plan.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// First leaf below it and one past the last.
    pub(crate) leaves: std::ops::Range<usize>,
    pub(crate) def: u8,
    pub(crate) rep: u8,
    pub(crate) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    Leaf { kind: LeafKind, rules: Option<Box<Rules>> },
    Struct(Object),
    List(Box<Node>),
    Map { key: Box<Node>, value: Box<Node> },
}

/// The members of an object, in the order of their columns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(crate) members: Vec<Member>,
    pub(crate) by_key: HashMap<String, usize, foldhash::fast::FixedState>,
    /// Number of this object in the plan, for the cursor's predictions.
    pub(crate) number: usize,
    /// Path of this object (`items[].`), to name unknown fields; empty for the record itself.
    pub(crate) path: String,
    /// A JSON text column keeps all of this object: nothing in it is unknown.
    pub(crate) known_to_all: bool,
    /// Keys that are no fields of the record but of what brought it, and may be left unread.
    pub(crate) unread: &'static [&'static str],
}

/// One key of an object.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) key: String,
    /// `"key":` as compact writers put it.
    pub(crate) literal: Vec<u8>,
    pub(crate) target: Target,
    pub(crate) required: bool,
    /// JSON text of the value taken when the key is absent or null.
    pub(crate) default: Option<Arc<str>>,
}

/// Where a key's value goes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A column or struct field.
    Node(Node),
    /// Columns that JSON pointers find inside this object, beside those that keep all of it as
    /// JSON text.
    Inside { object: Object, whole: Vec<Whole> },
}

/// A column that keeps a value as JSON text while other columns read inside it.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    pub(crate) node: Node,
    pub(crate) required: bool,
    pub(crate) default: Option<Arc<str>>,
}

/// The compiled plan of a table.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: Object,
    pub(crate) objects: usize,
    /// Whether the cursor can follow this plan (no pointers into objects).
    pub(crate) direct: bool,
}

impl Plan {
    pub(crate) fn compile(table: &TableSchema, layout: &Layout) -> Result<Self> {
        let mut compiler = Compiler { table, objects: 1 };
        let mut root = Object::default();
        let mut direct = true;
        let (mut stored, mut scratch) = (layout.fields.iter(), layout.scratch_fields.iter());
        for (column, in_file) in table.columns.iter().zip(&table.in_file) {
            let field = if *in_file { stored.next() } else { scratch.next() };
            let field = field.ok_or_else(|| Error::Internal("layout and table differ".into()))?;
            let node = compiler.node(column, field, &column.ty, &column.from.join("."))?;
            direct &= column.from.len() == 1;
            compiler.place(&mut root, &column.from, column, node)?;
        }
        if table.is_of_changes() {
            root.unread = &CHANGE_FIELDS;
        }
        Ok(Self { root, objects: compiler.objects, direct })
    }
}

struct Compiler<'a> {
    table: &'a TableSchema,
    objects: usize,
}

impl Compiler<'_> {
    fn error(&self, problem: String) -> Error {
        Error::Schema { table: self.table.name.clone(), problem }
    }

    fn place(&mut self, object: &mut Object, path: &[String], column: &Column, node: Node) -> Result<()> {
        let [key, rest @ ..] = path else {
            return Err(self.error(format!("{}: weir.from is empty", column.name)));
        };
        if rest.is_empty() {
            let (required, default) = (column.required, column.default.as_deref().map(Arc::from));
            return match object.by_key.get(key) {
                None => {
                    object.add(key, Target::Node(node), required, default);
                    Ok(())
                }
                Some(&at) => match &mut object.members[at].target {
                    Target::Inside { object, whole } if column.json => {
                        object.known_to_all = true;
                        whole.push(Whole { node, required, default });
                        Ok(())
                    }
                    _ => Err(self.error(format!("{}: two columns read the same field {key}", column.name))),
                },
            };
        }
        let at = self.inside(object, key).ok_or_else(|| {
            self.error(format!("{}: {key} is a column of its own and cannot be opened", column.name))
        })?;
        match &mut object.members[at].target {
            Target::Inside { object, .. } => self.place(object, rest, column, node),
            Target::Node(_) => Err(Error::Internal("a member was not opened".into())),
        }
    }

    /// The member `key` as an object that pointers read; a JSON text column there stays beside it.
    fn inside(&mut self, object: &mut Object, key: &str) -> Option<usize> {
        let path = format!("{}{key}.", object.path);
        let known_to_all = object.known_to_all;
        let mut inside = Object { number: self.objects, path, known_to_all, ..Object::default() };
        let Some(&at) = object.by_key.get(key) else {
            self.objects += 1;
            return Some(object.add(key, Target::Inside { object: inside, whole: Vec::new() }, false, None));
        };
        let member = &mut object.members[at];
        if let Target::Node(node) = &member.target {
            if !matches!(node.kind, NodeKind::Leaf { kind: LeafKind::Json, .. }) {
                return None;
            }
            self.objects += 1;
            inside.known_to_all = true;
            let (required, default) = (std::mem::take(&mut member.required), member.default.take());
            let whole = vec![Whole { node: node.clone(), required, default }];
            member.target = Target::Inside { object: inside, whole };
        }
        Some(at)
    }

    fn node(&mut self, column: &Column, field: &Field, ty: &HiveType, path: &str) -> Result<Node> {
        let kind = match (ty, &field.kind) {
            (HiveType::Struct(members), FieldKind::Struct(fields)) => {
                let mut object =
                    Object { number: self.objects, path: format!("{path}."), ..Object::default() };
                self.objects += 1;
                for (member, field) in members.iter().zip(fields) {
                    let node = self.node(column, field, &member.ty, &format!("{path}.{}", member.key))?;
                    object.add(&member.key, Target::Node(node), false, None);
                }
                NodeKind::Struct(object)
            }
            (HiveType::Array(element), FieldKind::List(field)) => {
                NodeKind::List(Box::new(self.node(column, field, element, &format!("{path}[]"))?))
            }
            (HiveType::Map(k, v), FieldKind::Map(key, value)) => NodeKind::Map {
                key: Box::new(self.node(column, key, k, &format!("{path}{{}}"))?),
                value: Box::new(self.node(column, value, v, &format!("{path}{{}}"))?),
            },
            (_, FieldKind::Leaf) => {
                let kind = leaf_kind(ty, column);
                let rules = if *ty == column.ty { self.rules(column, &kind)? } else { Rules::default() };
                NodeKind::Leaf { kind, rules: (!rules.is_empty()).then(|| Box::new(rules)) }
            }
            _ => return Err(Error::Internal("layout and table differ".into())),
        };
        Ok(Node {
            name: field.name.clone(),
            leaves: field.leaves.clone(),
            def: field.def,
            rep: field.rep,
            kind,
        })
    }

    fn rules(&self, column: &Column, kind: &LeafKind) -> Result<Rules> {
        let bound = |text: &Option<String>, name: &str| -> Result<Option<Bound>> {
            let Some(text) = text else { return Ok(None) };
            let bound = match kind {
                LeafKind::Int32 { .. } | LeafKind::Int64 => {
                    number::integer(text.as_bytes()).map(Bound::Whole)
                }
                LeafKind::Decimal { scale, .. } => number::scaled(text.as_bytes(), *scale).map(Bound::Whole),
                LeafKind::Float | LeafKind::Double => text.parse().ok().map(Bound::Real),
                LeafKind::Timestamp(_) => {
                    super::time::rfc3339(text.as_bytes()).map(|v| Bound::Whole(v.into()))
                }
                LeafKind::Date(_) => super::time::date(text.as_bytes()).map(|v| Bound::Whole(v.into())),
                _ => None,
            };
            bound.map(Some).ok_or_else(|| {
                self.error(format!(
                    "column {}: {name}={text} does not fit its type, {}",
                    column.name,
                    kind.expected()
                ))
            })
        };
        Ok(Rules {
            min: bound(&column.min, "weir.min")?,
            max: bound(&column.max, "weir.max")?,
            pattern: column.pattern.clone(),
            allowed: column.allowed.clone(),
            max_length: column.max_length,
            transforms: column.transforms.clone(),
        })
    }
}

impl Object {
    fn add(&mut self, key: &str, target: Target, required: bool, default: Option<Arc<str>>) -> usize {
        let at = self.members.len();
        let mut literal = serde_json::to_vec(key).unwrap_or_default();
        literal.push(b':');
        self.by_key.insert(key.to_owned(), at);
        self.members.push(Member { key: key.to_owned(), literal, target, required, default });
        at
    }
}

fn leaf_kind(ty: &HiveType, column: &Column) -> LeafKind {
    let whole = |min, max| LeafKind::Int32 { min, max };
    match *ty {
        HiveType::Boolean => LeafKind::Bool,
        HiveType::TinyInt => whole(i8::MIN.into(), i8::MAX.into()),
        HiveType::SmallInt => whole(i16::MIN.into(), i16::MAX.into()),
        HiveType::Int => whole(i32::MIN, i32::MAX),
        HiveType::BigInt => LeafKind::Int64,
        HiveType::Float => LeafKind::Float,
        HiveType::Double => LeafKind::Double,
        HiveType::Decimal { precision, scale } => LeafKind::Decimal { precision, scale },
        HiveType::String if column.json => LeafKind::Json,
        HiveType::Varchar(n) | HiveType::Char(n) => LeafKind::Text { max_chars: Some(n) },
        HiveType::Timestamp => LeafKind::Timestamp(column.time_format.clone()),
        HiveType::Date => LeafKind::Date(column.time_format.clone()),
        HiveType::Binary => LeafKind::Binary,
        _ => LeafKind::Text { max_chars: None },
    }
}
