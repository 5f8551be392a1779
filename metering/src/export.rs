//! The bill of one tenant for one period as a file, with the column names of the FinOps Open Cost
//! and Usage Specification (FOCUS) 1.2. Columns of our own start with `x_`, as it asks.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use headgate_types::{ChannelId, TenantId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::error::MeteringError;
use crate::rates::{Line, RateCard, rate};
use crate::usage::UsageTotal;

const COLUMNS: &[&str] = &[
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SubAccountId",
    "SubAccountName",
    "x_ElementId",
    "x_PerformanceProfile",
    "x_Timing",
    "x_PriceKey",
    "x_RateCardId",
    "x_RateCardRevision",
];

const PROVIDER: &str = "Headgate";

/// Who is billed, with the names to show; channels without a name are shown by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// Names of its channels.
    pub channels: BTreeMap<ChannelId, String>,
}

/// What an export holds, to be checked by whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// The specification the columns follow.
    pub specification: String,
    /// Whose bill it is.
    pub tenant: TenantId,
    /// The first moment of the period.
    pub period_start: DateTime<Utc>,
    /// The moment after its last.
    pub period_end: DateTime<Utc>,
    /// Only usage stored before this is in it: the same cut-off gives the same file, byte for byte.
    pub cutoff: DateTime<Utc>,
    /// The revision of the rate card.
    pub rate_card_revision: u32,
    /// Rows, the header not counted.
    pub rows: u64,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The sum of `BilledCost`.
    #[schema(value_type = String)]
    pub total: Decimal,
}

/// A bill as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// RFC 4180, UTF-8, with a header row.
    pub csv: String,
    /// What it holds.
    pub manifest: Manifest,
}

/// The bill of `payer` for `start <= event_time < end`. `usage` is what [`crate::totals`] gives for
/// that period and cut-off; the file depends on nothing else.
///
/// # Errors
/// When a row cannot be written.
pub fn export_csv(
    payer: &Payer,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    cutoff: DateTime<Utc>,
    usage: &[UsageTotal],
    card: &RateCard,
) -> Result<Export, MeteringError> {
    let rated = rate(usage, &card.card);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| MeteringError::Export(error.to_string());
    writer.write_record(COLUMNS).map_err(failed)?;
    for line in &rated.lines {
        writer.write_record(row(payer, start, end, line, card)).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| MeteringError::Export(error.to_string()))?;
    let csv = String::from_utf8(bytes).map_err(|error| MeteringError::Export(error.to_string()))?;
    let manifest = Manifest {
        specification: "FOCUS 1.2".to_owned(),
        tenant: payer.tenant,
        period_start: start,
        period_end: end,
        cutoff,
        rate_card_revision: card.revision,
        rows: rated.lines.len() as u64,
        sha256: hex::encode(Sha256::digest(&csv)),
        currency: rated.currency,
        total: rated.total,
    };
    Ok(Export { csv, manifest })
}

/// A name that a spreadsheet would take for a formula gets an apostrophe before it: the bill is
/// opened by others than those who chose the name.
fn name(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

fn row(payer: &Payer, start: DateTime<Utc>, end: DateTime<Utc>, line: &Line, card: &RateCard) -> Vec<String> {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (start, end) = (time(start), time(end));
    let cost = line.amount.normalize().to_string();
    let currency = card.card.currency.clone();
    let tenant = payer.tenant.to_string();
    let price = line.price.as_ref();
    // FOCUS: nullable columns are empty. Tiered prices have no single unit price.
    let unit_price =
        price.filter(|price| price.scheme.is_additive()).map(|price| price.scheme.amount(price.per, price.per));
    let unit_price = unit_price.map(|price| price.normalize().to_string()).unwrap_or_default();
    let priced = price.map(|price| Decimal::from(line.quantity) / Decimal::from(price.per.max(1)));
    let channel = line.channel.map(|id| id.to_string()).unwrap_or_default();
    let channel_name =
        line.channel.and_then(|id| payer.channels.get(&id)).map(|text| name(text)).unwrap_or_else(|| channel.clone());
    let profile = line.dims.channel_profile.clone().unwrap_or_default();
    let size = line.dims.performance_profile.clone().unwrap_or_default();
    let sku = [line.meter.as_str(), &profile, &size]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/");
    let description = match &line.channel {
        Some(_) => format!("{} of channel {channel_name}", line.meter),
        None => line.meter.to_string(),
    };
    // In the order of COLUMNS.
    vec![
        cost.clone(),
        tenant.clone(),
        name(&payer.name),
        currency.clone(),
        start.clone(),
        end.clone(),
        "Usage".to_owned(),
        String::new(),
        description,
        "Usage-Based".to_owned(),
        start,
        end,
        line.quantity.to_string(),
        line.meter.unit().to_owned(),
        cost.clone(),
        unit_price.clone(),
        cost.clone(),
        PROVIDER.to_owned(),
        cost,
        unit_price,
        "Standard".to_owned(),
        currency,
        priced.map(|quantity| quantity.normalize().to_string()).unwrap_or_default(),
        price.map(|price| price.unit.clone()).unwrap_or_default(),
        PROVIDER.to_owned(),
        PROVIDER.to_owned(),
        channel.clone(),
        if channel.is_empty() { String::new() } else { channel_name },
        if channel.is_empty() { String::new() } else { "Channel".to_owned() },
        "Analytics".to_owned(),
        if profile.is_empty() { "Headgate".to_owned() } else { format!("Headgate {profile}") },
        "Data Processing".to_owned(),
        sku,
        line.meter.to_string(),
        tenant,
        name(&payer.name),
        line.element.map(|id| id.to_string()).unwrap_or_default(),
        size,
        line.dims.timing.clone().unwrap_or_default(),
        line.dims.price_key.clone().unwrap_or_default(),
        card.id.to_string(),
        card.revision.to_string(),
    ]
}
