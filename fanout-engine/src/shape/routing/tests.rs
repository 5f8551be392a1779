//! What the index finds against what every plan finds by itself; and what it costs, in counts.

use std::collections::HashMap;

use headgate_types::schema::ElementKind;
use headgate_types::selection::Scope;
use proptest::prelude::*;
use serde_json::json;

use super::super::properties::{changes, condition, rows};
use super::*;
use crate::shape::testing::{Element, sensors};

fn routes(plans: &[Plan]) -> Routes {
    let mut routes = Routes::like(&plans[0]);
    plans.iter().for_each(|plan| routes.add(plan));
    routes
}

/// Every plan gives the same records by way of the index as by itself, and what the index leaves out
/// has none.
fn agree(element: &Element, filters: &[String], range: &LakeBatch) -> Result<(), TestCaseError> {
    let columns = vec!["id".to_owned(), "count".to_owned()];
    let compile = |filter: &String| {
        element.compile(&Scope { filter: Some(filter.clone()), columns: columns.clone(), ..element.scope() }).unwrap()
    };
    let plans: Vec<Plan> = filters.iter().map(compile).collect();
    let routed = routes(&plans).snapshot().route(range).unwrap();
    let found: HashMap<_, _> = routed.found.iter().map(|(id, candidates)| (*id, candidates)).collect();
    prop_assert_eq!(found.len(), routed.found.len(), "a predicate is found once");
    for (plan, filter) in plans.iter().zip(filters) {
        let alone = plan.shape(range).unwrap();
        let Some(candidates) = found.get(&plan.filter().id()) else {
            prop_assert!(alone.offsets.is_empty(), "{} was left out", filter);
            continue;
        };
        let pruned = plan.shape_routed(candidates).unwrap();
        prop_assert_eq!(&alone.offsets, &pruned.offsets, "{}", filter);
        prop_assert_eq!(&alone.transitions, &pruned.transitions, "{}", filter);
        prop_assert_eq!((&alone.batch, &alone.ids), (&pruned.batch, &pruned.ids), "{}", filter);
        prop_assert_eq!(&alone.key_hashes, &pruned.key_hashes, "{}", filter);
    }
    Ok(())
}

/// Filters that the index looks up are rare among conditions made up at random; these are not.
fn indexed() -> impl Strategy<Value = String> {
    let op = || prop_oneof![Just("="), Just("<>"), Just("<"), Just("<="), Just(">"), Just(">=")];
    let float = || prop_oneof![Just("0.0"), Just("-0.0"), Just("-1.5"), Just("1.0"), Just("2"), Just("1e300")];
    let leaf = prop_oneof![
        (op(), float()).prop_map(|(op, value)| format!("temp_f {op} {value}")),
        (op(), float()).prop_map(|(op, value)| format!("{value} {op} temp_f")),
        (float(), float()).prop_map(|(low, high)| format!("temp_f BETWEEN {low} AND {high}")),
        (float(), float()).prop_map(|(low, high)| format!("temp_f IN ({low}, {high}, NULL)")),
        (op(), -2..3_i64).prop_map(|(op, value)| format!("count {op} {value}")),
        (op(), -2..3_i64).prop_map(|(op, value)| format!("CAST(count AS DOUBLE) {op} {value}.5")),
        (op(), -2..3_i64).prop_map(|(op, value)| format!("CAST(temp_f AS BIGINT) {op} {value}")),
        (op(), -2..3_i64).prop_map(|(op, value)| format!("CAST(site AS BIGINT) {op} {value}")),
        (-2..3_i64, -2..3_i64).prop_map(|(low, high)| format!("count NOT BETWEEN {low} AND {high}")),
        (-2..3_i64, -2..3_i64).prop_map(|(one, two)| format!("count IN ({one}, {two})")),
        (-2..3_i64).prop_map(|one| format!("count NOT IN ({one}, NULL)")),
        (op(), "[ab]{0,2}").prop_map(|(op, value)| format!("site {op} '{value}'")),
        "[ab]{1,2}".prop_map(|value| format!("site IN ('{value}', 'a')")),
        op().prop_map(|op| format!("ok {op} true")),
        Just("ok".to_owned()),
        Just("ok IS NOT TRUE".to_owned()),
        Just("(count > 0) IS TRUE".to_owned()),
        Just("(count > 0) IS NOT FALSE".to_owned()),
        Just("count = NULL".to_owned()),
        Just("(count IS NOT DISTINCT FROM 1)".to_owned()),
        Just("(count IS DISTINCT FROM 1)".to_owned()),
        Just("true".to_owned()),
        Just("1 / count > 0".to_owned()),
    ];
    leaf.prop_recursive(3, 10, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| format!("NOT ({one})")),
            (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one} AND {two})")),
            (inner.clone(), inner).prop_map(|(one, two)| format!("({one} OR {two})")),
        ]
    })
}

fn filters() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(prop_oneof![indexed(), condition().prop_map(|condition| condition.sql())], 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn the_index_leaves_out_no_event_that_a_plan_takes(filters in filters(), rows in rows()) {
        let element = sensors(ElementKind::Events);
        agree(&element, &filters, &element.rows(1, &rows))?;
    }

    #[test]
    fn the_index_looks_at_both_images_of_a_change(filters in filters(), changes in changes()) {
        let element = sensors(ElementKind::Entity);
        agree(&element, &filters, &element.range(1, &changes))?;
    }
}

fn batch(element: &Element) -> Arc<LakeBatch> {
    let rows: Vec<_> = (0..1_000)
        .map(|id| json!({"id": id, "site": format!("site-{}", id % 10), "count": id % 7, "temp_f": (id % 100) as f64}))
        .collect();
    element.rows(1, &rows)
}

fn strangers(element: &Element, from: u64, count: u64) -> Vec<Plan> {
    let filter = |at: u64| match at % 4 {
        0 => format!("site = 'nobody-{at}'"),
        1 => format!("site = 'nobody-{at}' AND temp_f > {}.5", at % 50),
        2 => format!("site = 'site-{}' AND count = {}", at % 10, 1_000 + at),
        _ => format!("temp_f > {at}.5 AND temp_f < {at}.75"),
    };
    (from..from + count).map(|at| element.plan(&filter(at + 1_000))).collect()
}

#[test]
fn plans_without_a_row_cost_no_evaluation_and_no_further_look() {
    let element = sensors(ElementKind::Events);
    let range = batch(&element);
    let wanted = [
        element.plan("site = 'site-3'"),
        element.plan("site = 'site-4' AND count = 2 AND temp_f > 10.5"),
        element.plan("temp_f > 98.5"),
        element.plan("site LIKE '%-5'"),
    ];
    let mut routes = routes(&wanted);
    // Some of each kind, so that the same columns are looked at below the same values before and after.
    for plan in strangers(&element, 0, 40) {
        routes.add(&plan);
    }
    let before = routes.snapshot().route(&range).unwrap();
    assert_eq!((before.found.len(), before.evaluated), (4, 1));
    for plan in strangers(&element, 40, 10_000) {
        routes.add(&plan);
    }
    let after = routes.snapshot().route(&range).unwrap();
    assert_eq!((after.found.len(), after.evaluated, after.lookups), (4, 1, before.lookups));
    let rows = |routed: &Routed, plan: &Plan| {
        let (_, candidates) = routed.found.iter().find(|(id, _)| *id == plan.filter().id()).unwrap();
        (candidates.rows().unwrap().len(), candidates.decided())
    };
    assert_eq!(rows(&after, &wanted[0]), (100, true));
    assert_eq!(rows(&after, &wanted[2]), (10, true));
    assert_eq!(rows(&after, &wanted[3]), (100, true));
    // Looked up by site, by count below it, and by temperature below that.
    assert_eq!(rows(&after, &wanted[1]).0, wanted[1].shape(&range).unwrap().offsets.len());
}

#[test]
fn plans_come_and_go_without_a_trace() {
    let element = sensors(ElementKind::Events);
    let range = batch(&element);
    let (kept, shared, gone) =
        (element.plan("site = 'site-1'"), element.plan("site = 'site-1'"), element.plan("site = 'site-2'"));
    let mut routes = routes(&[kept, shared, gone]);
    let found = |routes: &mut Routes| routes.snapshot().route(&range).unwrap().found.len();
    assert_eq!(found(&mut routes), 2);
    let held = routes.snapshot();
    // More than a level of additions is taken up into the greater one.
    let many: Vec<_> = (0..600).map(|at| element.plan(&format!("count = 3 AND id < {at}"))).collect();
    many.iter().for_each(|plan| routes.add(plan));
    assert_eq!(found(&mut routes), 2 + 596);
    let again = element.plan("site = 'site-1'");
    let site_2 = element.plan("site = 'site-2'");
    routes.remove(site_2.filter().id());
    routes.remove(again.filter().id());
    assert_eq!(found(&mut routes), 1 + 596, "one of the two plans of a predicate is left");
    routes.add(&site_2);
    routes.remove(again.filter().id());
    assert_eq!(found(&mut routes), 1 + 596);
    many.iter().for_each(|plan| routes.remove(plan.filter().id()));
    routes.remove(site_2.filter().id());
    assert_eq!((found(&mut routes), routes.is_empty()), (0, true));
    assert_eq!(held.route(&range).unwrap().found.len(), 2, "a snapshot stays as it was");
}
