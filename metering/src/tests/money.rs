use std::collections::BTreeMap;

use headgate_types::RateCardId;
use headgate_types::channel::Direction;
use proptest::prelude::*;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::*;
use crate::rates::{NewRateCard, Price, QuoteRequest, QuotedElement, RateCard, Scheme, Tier, quote, rate, standard};
use crate::usage::UsageTotal;
use crate::{Payer, export_csv};

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn card() -> RateCard {
    let created_at = at("2026-01-01T00:00:00Z");
    RateCard { id: RateCardId::new(), revision: 3, valid_from: created_at, created_at, card: standard().unwrap() }
}

fn total(meter: Meter, flow: &Flow, quantity: i64) -> UsageTotal {
    UsageTotal { meter, channel: Some(flow.channel), element: Some(flow.element), dims: dims(), quantity }
}

#[test]
fn the_standard_price_list_is_a_card_without_faults_for_every_meter() {
    let card = standard().unwrap();
    assert_eq!(card.errors(), []);
    for meter in Meter::ALL {
        assert!(card.price(*meter, &Dims::default()).is_some(), "{meter} has no price");
    }
}

#[test]
fn the_most_specific_price_holds() {
    let card = standard().unwrap();
    let amount = |meter, dims: &Dims| match &card.price(meter, dims).unwrap().1.scheme {
        Scheme::Standard { amount } => *amount,
        other => panic!("{other:?}"),
    };
    assert_eq!(amount(Meter::ChannelHours, &dims()), decimal("0.09"));
    assert_eq!(amount(Meter::ChannelHours, &Dims::default()), decimal("0.05"));
    let interval = Dims { timing: Some("interval".into()), ..dims() };
    assert!(amount(Meter::DeliverRecords, &interval) < amount(Meter::DeliverRecords, &dims()));
    assert!(amount(Meter::IngestRecords, &interval) < amount(Meter::IngestRecords, &dims()));
    let premium = Dims { price_key: Some("premium".into()), ..dims() };
    assert!(amount(Meter::DeliverRecords, &premium) > amount(Meter::DeliverRecords, &dims()));
    let unknown = Dims { price_key: Some("unknown".into()), ..dims() };
    assert_eq!(amount(Meter::DeliverRecords, &unknown), amount(Meter::DeliverRecords, &dims()));
}

/// A price for all usage of a meter.
fn standard_price(meter: Meter, unit: &str, amount: &str, per: i64) -> Price {
    Price {
        meter,
        channel_profile: None,
        performance_profile: None,
        timing: None,
        price_key: None,
        per,
        unit: unit.into(),
        scheme: Scheme::Standard { amount: decimal(amount) },
    }
}

#[test]
fn a_wrong_rate_card_is_refused_by_its_places() {
    let price = |amount: &str, per| standard_price(Meter::QueryMs, "ms", amount, per);
    let tiers = vec![Tier { up_to: Some(3), amount: decimal("1") }];
    let tiered = Price { meter: Meter::QueryRows, scheme: Scheme::Volume { tiers }, ..price("1", 1) };
    let card = NewRateCard {
        currency: "eur".into(),
        rounding_decimals: 99,
        prices: vec![price("-1", 1), price("1", 0), tiered],
    };
    let places: Vec<_> = card.errors().into_iter().map(|error| error.pointer).collect();
    let wanted = ["/currency", "/rounding_decimals", "/prices/0", "/prices/1/per", "/prices/1", "/prices/2/tiers"];
    assert_eq!(places, wanted);
}

#[test]
fn no_quantity_at_no_price_is_more_than_can_be_reckoned() {
    let per_byte = |amount| standard_price(Meter::IngestBytes, "byte", amount, 1);
    let card = |amount| NewRateCard { currency: "EUR".into(), rounding_decimals: 2, prices: vec![per_byte(amount)] };
    assert_eq!(card("1000000000").errors()[0].code, "too_large");
    let dearest = card("999999999.999999999");
    assert_eq!(dearest.errors(), []);
    let amount = dearest.prices[0].scheme.amount(i64::MAX, 1);
    assert!(amount > decimal("9223372036000000000000000000"), "{amount}");
}

#[test]
fn a_tiered_price_counts_the_tenants_whole_quantity_in_one_line() {
    let (a, b) = (Flow::new(), Flow::new());
    let usage = [
        total(Meter::ApiRequests, &a, 90_000),
        total(Meter::ApiRequests, &b, 60_000),
        total(Meter::DeliverRecords, &a, 1_000_000),
        total(Meter::DeliverRecords, &b, 3),
    ];
    let rated = rate(&usage, &standard().unwrap());
    assert_eq!(rated.lines.len(), 3);
    assert_eq!((rated.lines[0].quantity, rated.lines[0].channel), (150_000, None));
    // 50,000 requests beyond the free ones at 2.00 per million.
    assert_eq!(rated.lines[0].amount, decimal("0.1"));
    assert_eq!(rated.lines[1].amount + rated.lines[2].amount, decimal("0.5"));
    assert_eq!(rated.total, decimal("0.6"));
}

#[test]
fn a_quote_names_the_price_of_resources_initial_load_and_use() {
    let element = headgate_types::ElementId::new();
    let request = QuoteRequest {
        direction: Direction::Out,
        channel_profile: "api".into(),
        performance_profile: "M".into(),
        timing: "immediate".into(),
        elements: vec![
            QuotedElement { element: None, price_key: None, initial_records: 2_000_000, initial_bytes: 1 << 30 },
            QuotedElement {
                element: Some(element),
                price_key: Some("premium".into()),
                initial_records: 1_000_000,
                initial_bytes: 0,
            },
        ],
    };
    let card = card();
    let quoted = quote(&request, &card);
    assert_eq!((quoted.revision, quoted.per_hour, quoted.per_month), (3, decimal("0.09"), decimal("65.7")));
    assert_eq!(quoted.initial_load, decimal("1.00") + decimal("0.05") + decimal("5.00"));
    assert_eq!((quoted.initial_records, quoted.initial_bytes), (3_000_000, 1 << 30));
    let premium: Vec<_> = quoted.prices.iter().filter(|price| price.element == Some(element)).collect();
    assert_eq!((premium.len(), premium[0].price.meter), (1, Meter::DeliverRecords));

    // What was quoted for the load is what is rated when it was delivered.
    let flow = Flow::new();
    let usage = [total(Meter::DeliverRecords, &flow, 2_000_000), total(Meter::DeliverBytes, &flow, 1 << 30)];
    assert_eq!(rate(&usage, &card.card).total, decimal("1.05"));
}

#[test]
fn the_export_has_focus_columns_and_comes_out_the_same_again() {
    let flow = Flow::new();
    let payer = Payer {
        tenant: flow.tenant,
        name: "Acme, \"Inc\"".into(),
        channels: BTreeMap::from([(flow.channel, "=weather api".to_owned())]),
    };
    let usage = [
        total(Meter::ChannelHours, &flow, 7_200),
        total(Meter::DeliverRecords, &flow, 26_115),
        UsageTotal { channel: None, element: None, dims: Dims::default(), ..total(Meter::ApiRequests, &flow, 10) },
    ];
    let (start, end) = (at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"));
    let card = card();
    let export = export_csv(&payer, start, end, end, &usage, &card).unwrap();
    assert_eq!(export, export_csv(&payer, start, end, end, &usage, &card).unwrap());
    assert_eq!(export.manifest.sha256, hex::encode(Sha256::digest(&export.csv)));
    assert_eq!(export.manifest.rows, 3);

    let mut reader = csv::Reader::from_reader(export.csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let billed: Decimal = rows.iter().map(|row| decimal(&row[column("BilledCost")])).sum();
    assert_eq!(billed, export.manifest.total);
    assert_eq!(billed, rate(&usage, &card.card).total);
    let hours = rows.iter().find(|row| &row[column("SkuMeter")] == "channel.hours").unwrap();
    for (name, value) in [
        ("BillingAccountName", "Acme, \"Inc\""),
        ("BillingPeriodStart", "2026-01-01T00:00:00Z"),
        ("ChargePeriodEnd", "2026-02-01T00:00:00Z"),
        ("BilledCost", "0.18"),
        ("ConsumedQuantity", "7200"),
        ("ConsumedUnit", "seconds"),
        ("PricingQuantity", "2"),
        ("PricingUnit", "hour"),
        ("ListUnitPrice", "0.09"),
        ("ResourceName", "'=weather api"),
        ("SkuId", "channel.hours/api/M"),
    ] {
        assert_eq!(&hours[column(name)], value, "{name}");
    }
}

proptest! {
    #[test]
    fn every_unit_of_usage_is_in_exactly_one_line(quantities in prop::collection::vec((0..Meter::ALL.len(), 0_i64..1 << 40), 0..30)) {
        let flows = [Flow::new(), Flow::new()];
        let usage: Vec<_> = quantities
            .iter()
            .enumerate()
            .map(|(index, (meter, quantity))| total(Meter::ALL[*meter], &flows[index % 2], *quantity))
            .collect();
        let rated = rate(&usage, &standard().unwrap());
        for meter in Meter::ALL {
            let used: i64 = usage.iter().filter(|total| total.meter == *meter).map(|total| total.quantity).sum();
            let billed: i64 = rated.lines.iter().filter(|line| line.meter == *meter).map(|line| line.quantity).sum();
            prop_assert_eq!(used, billed);
        }
        prop_assert_eq!(rated.total, rated.lines.iter().map(|line| line.amount).sum::<Decimal>());
    }
}
