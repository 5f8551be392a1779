//! Records that have the members of the record before them, in its order: what sources mostly send.
//!
//! Such a record is read straight into values, without a tree in between and without looking names up.
//! Whatever is unusual about it makes the whole of it go the long way, which alone decides what is
//! refused and why; so the two agree on every record that is taken here.

use std::borrow::Cow;

use headgate_types::schema::DataType;

use super::json::{Json, Parser};
use super::plan::InputPlan;
use super::scalar::Scalar;
use super::value::Found;

/// Members up to which a layout is worth keeping.
const MOST_MEMBERS: usize = 256;

/// The members of a record, in order.
#[derive(Debug)]
pub(super) struct Layout {
    members: Vec<Member>,
    /// The values of fields that no member is read for, which are the same in each record.
    same: Vec<(usize, Scalar)>,
}

#[derive(Debug)]
struct Member {
    /// Its name as JSON, and the colon.
    head: Box<str>,
    /// The fields that are read from it.
    fields: Box<[usize]>,
    /// How the only one of them is read without looking at anything else.
    short: Option<Short>,
}

/// A way past the tree of a value, its reading and its rule, for what most values are. A value that is not of this
/// kind goes the long way.
#[derive(Debug, Clone, Copy)]
enum Short {
    Text,
    Integer,
    Float,
}

impl Layout {
    /// The layout of a record that the plan has taken; `None` where records have to be looked at one by one.
    pub(super) fn of(plan: &InputPlan, record: &Json<'_>) -> Option<Self> {
        let Json::Object(members) = record else { return None };
        let is_member = |source: &str| members.iter().any(|(name, _)| name == source);
        // A record without its operation writes; one that has it, or may have it deeper down, is looked at.
        let says_operation = plan.operation_field().is_some_and(|field| is_member(field) || field.contains('.'));
        if members.len() > MOST_MEMBERS || says_operation {
            return None;
        }
        let mut same = Vec::new();
        for (index, (rule, field)) in plan.rules().iter().zip(&plan.schema().fields).enumerate() {
            match rule.source.as_deref() {
                Some(source) if is_member(source) => {}
                // What a path reaches differs from record to record.
                Some(source) if source.contains('.') => return None,
                _ => {
                    let value = rule.value(field, Found::Missing, false).ok()?;
                    if !value.is_null() {
                        same.push((index, value));
                    }
                }
            }
        }
        let members = members.iter().map(|(name, _)| {
            let Cow::Borrowed(name) = name else { return None };
            let rules = plan.rules().iter().enumerate();
            let fields = rules.filter(|(_, rule)| rule.source.as_deref() == Some(name)).map(|(index, _)| index);
            let fields: Box<[usize]> = fields.collect();
            let short = match *fields {
                [index] => Short::of(plan, index),
                _ => None,
            };
            Some(Member { head: format!("\"{name}\":").into(), fields, short })
        });
        Some(Self { members: members.collect::<Option<_>>()?, same })
    }

    /// The values of a record with this layout; `None`: it is another, or something is wrong with it.
    pub(super) fn read(&self, plan: &InputPlan, text: &str) -> Option<Vec<Scalar>> {
        let mut values = Vec::new();
        values.resize_with(plan.rules().len(), || Scalar::Null);
        for (index, value) in &self.same {
            values[*index] = value.clone();
        }
        let mut parser = Parser::new(text, 0);
        parser.skip_space();
        parser.eat(b'{').then_some(())?;
        for (place, member) in self.members.iter().enumerate() {
            parser.skip_space();
            if place > 0 {
                parser.eat(b',').then_some(())?;
                parser.skip_space();
            }
            if !parser.eat_all(&member.head) {
                parser.eat_all(member.head.strip_suffix(':')?).then_some(())?;
                parser.skip_space();
                parser.eat(b':').then_some(())?;
            }
            parser.skip_space();
            member.read(plan, &mut parser, &mut values)?;
        }
        parser.skip_space();
        parser.eat(b'}').then_some(())?;
        parser.end().ok()?;
        Some(values)
    }
}

impl Member {
    fn read(&self, plan: &InputPlan, parser: &mut Parser<'_>, values: &mut [Scalar]) -> Option<()> {
        let rules = plan.rules();
        let value = match (self.short, parser.peek()) {
            (Some(Short::Text), _) => parser.short_text().map(|text| Scalar::Text(text.into())),
            (Some(Short::Integer), _) => parser.short_integer().map(Scalar::Int),
            (Some(Short::Float), Some(b'-' | b'0'..=b'9')) => {
                let number = parser.number().ok()?;
                Some(rules[self.fields[0]].reading.float(number).ok()?)
            }
            _ => None,
        };
        if let Some(value) = value {
            values[self.fields[0]] = value;
            return Some(());
        }
        let value = parser.member_value().ok()?;
        if parser.duplicate.is_some() {
            return None;
        }
        for index in &self.fields {
            let field = &plan.schema().fields[*index];
            values[*index] = rules[*index].value(field, Found::from(&value), false).ok()?;
        }
        Some(())
    }
}

impl Short {
    fn of(plan: &InputPlan, index: usize) -> Option<Self> {
        let reading = &plan.rules()[index].reading;
        match reading.data_type {
            DataType::Int64 => Some(Self::Integer),
            DataType::Float64 => Some(Self::Float),
            _ => reading.keeps_text().then_some(Self::Text),
        }
    }
}
