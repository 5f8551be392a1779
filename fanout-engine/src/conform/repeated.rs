//! Records that have the members of the record before them, in its order: what sources mostly send.
//!
//! Such a record is read straight into values, without a tree in between and without looking names up.
//! Whatever is unusual about it makes the whole of it go the long way, which alone decides what is
//! refused and why; so the two agree on every record that is taken here.

use std::borrow::Cow;

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
    /// The values of a record as far as they are the same in each: of fields that no member is read for.
    same: Vec<Scalar>,
}

#[derive(Debug)]
struct Member {
    name: Box<str>,
    /// The fields that are read from it.
    fields: Box<[usize]>,
}

impl Layout {
    /// The layout of a record that the plan has taken; `None` where records have to be looked at one by one.
    pub(super) fn of(plan: &InputPlan, record: &Json<'_>) -> Option<Self> {
        let Json::Object(members) = record else { return None };
        if members.len() > MOST_MEMBERS || plan.decides_operation() {
            return None;
        }
        let is_member = |source: &str| members.iter().any(|(name, _)| name == source);
        let same = plan.rules().iter().zip(&plan.schema().fields).map(|(rule, field)| match rule.source.as_deref() {
            Some(source) if is_member(source) => Some(Scalar::Null),
            // What a path reaches differs from record to record.
            Some(source) if source.contains('.') => None,
            _ => rule.value(field, Found::Missing, false).ok(),
        });
        let same = same.collect::<Option<_>>()?;
        let members = members.iter().map(|(name, _)| {
            let Cow::Borrowed(name) = name else { return None };
            let rules = plan.rules().iter().enumerate();
            let fields = rules.filter(|(_, rule)| rule.source.as_deref() == Some(name)).map(|(index, _)| index);
            Some(Member { name: Box::from(*name), fields: fields.collect() })
        });
        Some(Self { members: members.collect::<Option<_>>()?, same })
    }

    /// The values of a record with this layout; `None`: it is another, or something is wrong with it.
    pub(super) fn read(&self, plan: &InputPlan, text: &str) -> Option<Vec<Scalar>> {
        let (rules, fields) = (plan.rules(), &plan.schema().fields);
        let mut values = self.same.clone();
        let mut parser = Parser::new(text, 0);
        parser.skip_space();
        parser.eat(b'{').then_some(())?;
        for (place, member) in self.members.iter().enumerate() {
            parser.skip_space();
            if place > 0 {
                parser.eat(b',').then_some(())?;
                parser.skip_space();
            }
            parser.eat_name(&member.name).then_some(())?;
            parser.skip_space();
            parser.eat(b':').then_some(())?;
            let value = parser.member_value().ok()?;
            if parser.duplicate.is_some() {
                return None;
            }
            for index in &member.fields {
                values[*index] = rules[*index].value(&fields[*index], Found::from(&value), false).ok()?;
            }
        }
        parser.skip_space();
        parser.eat(b'}').then_some(())?;
        parser.end().ok()?;
        Some(values)
    }
}
