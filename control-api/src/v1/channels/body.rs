//! The documents that order channels.

use std::collections::BTreeMap;

use headgate_catalog::Metadata;
use headgate_catalog::channels::{ChannelSpec, History, OutSpec};
use headgate_types::model::{InputModel, OutputModel, PayloadFormat};
use headgate_types::schema::{ElementKind, Schema};
use headgate_types::selection::SelectionItem;
use headgate_types::timing::{Quota, Timing};
use headgate_types::{ElementId, FieldError, NodeId};
use serde::Deserialize;
use utoipa::ToSchema;

/// The largest sample that fits into the order itself, in bytes.
const MAX_SAMPLE: usize = 512 << 10;

/// Orders a data-out channel.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDataOut {
    /// A name for people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// What it carries: elements, hierarchy nodes or facet queries, each with its row and column scope.
    #[schema(min_items = 1, max_items = 256)]
    pub data: Vec<SelectionItem>,
    /// How it carries it: a key or alias from `/v1/channel-profiles`, for example `api`.
    pub channel_profile: String,
    /// Its size: `S`, `M`, `L`, `XL` or an alias.
    pub performance_profile: String,
    /// What every record becomes, unless an item of `data` says otherwise.
    #[serde(default)]
    pub output_data_model: OutputModel,
    /// When it delivers.
    #[serde(default)]
    pub timing: Timing,
    /// How much it may deliver in a period.
    #[serde(default)]
    pub quota: Option<Quota>,
    /// How much of the past it starts with.
    #[serde(default)]
    pub history: History,
    /// A role or user of your own cloud account that is let in without keys, by its ARN; only for
    /// profiles whose channels are held by a cloud.
    #[serde(default)]
    pub client_principal: Option<String>,
    /// Run every check, quote the price and show a preview; change nothing.
    #[serde(default)]
    pub validate_only: bool,
}

impl CreateDataOut {
    /// What is desired, as the catalog keeps it.
    pub(super) fn spec(&self) -> ChannelSpec {
        ChannelSpec::Out(OutSpec {
            data: self.data.clone(),
            output_data_model: self.output_data_model.clone(),
            timing: self.timing.clone(),
            quota: self.quota.clone(),
            history: self.history,
            client_principal: self.client_principal.clone(),
        })
    }
}

/// Orders a data-in channel.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDataIn {
    /// A name for people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// How data comes in: a key or alias from `/v1/channel-profiles`, for example `http`.
    pub channel_profile: String,
    /// Its size: `S`, `M`, `L`, `XL` or an alias.
    pub performance_profile: String,
    /// The typed streams of the channel.
    #[schema(min_items = 1, max_items = 64)]
    pub feeds: Vec<FeedBody>,
    /// When landed payloads are conformed.
    #[serde(default)]
    pub timing: Timing,
    /// A role or user of your own cloud account that is let in without keys, by its ARN; only for
    /// profiles whose channels are held by a cloud.
    #[serde(default)]
    pub client_principal: Option<String>,
    /// Run every check and quote the price; change nothing.
    #[serde(default)]
    pub validate_only: bool,
}

/// One typed stream of a data-in channel.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedBody {
    /// The last segment of the address that data is sent to.
    #[schema(max_length = 64)]
    pub name: String,
    /// The element it writes, where that exists and is yours.
    #[serde(default)]
    pub element: Option<ElementId>,
    /// The element it writes, where that is born with this order.
    #[serde(default)]
    pub new_element: Option<NewElementBody>,
    /// How payloads become records. Absent: by the names of the schema's fields, or as inferred
    /// from the sample.
    #[serde(default)]
    pub input_model: Option<InputModel>,
}

/// An element that is born with a data-in channel. What has no default is mandatory.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewElementBody {
    /// Its path in the catalog, for example `weather/hourly`; unique among the tenant's elements.
    #[schema(max_length = 200)]
    pub name: String,
    /// `events` or `entity`.
    pub kind: ElementKind,
    /// Context, source, format, what is sent and how a record is identified, and more.
    pub metadata: Metadata,
    /// Its schema. Absent: inferred from `sample`.
    #[serde(default)]
    pub schema: Option<Schema>,
    /// A sample to infer the schema from.
    #[serde(default)]
    pub sample: Option<SampleBody>,
    /// Facet values, for selections such as `{"region": "eu"}`.
    #[serde(default)]
    pub facets: BTreeMap<String, String>,
    /// The hierarchy nodes it sits at.
    #[serde(default)]
    pub nodes: Vec<NodeId>,
}

/// A sample to infer a schema from.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleBody {
    /// Its format.
    pub format: PayloadFormat,
    /// The sample itself; at most 512 KiB in an order, 64 MiB at `/v1/schemas/infer`.
    pub text: String,
    /// Names of the fields that identify a record.
    #[serde(default)]
    pub keys: Vec<String>,
}

impl NewElementBody {
    /// What must hold before the schema is known; pointers are relative to the element.
    pub(super) fn errors(&self) -> Vec<FieldError> {
        match (&self.schema, &self.sample) {
            (Some(_), None) => Vec::new(),
            (None, Some(sample)) if sample.text.len() <= MAX_SAMPLE => Vec::new(),
            (None, Some(_)) => {
                let detail = "a sample in an order has at most 512 KiB; send a larger one to /v1/schemas/infer";
                vec![FieldError::new("/sample/text", "too_large", detail)]
            }
            _ => vec![FieldError::new("", "exactly_one", "an element has exactly one of schema and sample")],
        }
    }
}

/// Changes a data-out channel; absent members stay as they are.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateDataOut {
    /// A new name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Another size.
    #[serde(default)]
    pub performance_profile: Option<String>,
    /// Another timing.
    #[serde(default)]
    pub timing: Option<Timing>,
    /// Another quota; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Quota>)]
    pub quota: Option<Option<Quota>>,
    /// Run every check and quote the price; change nothing.
    #[serde(default)]
    pub validate_only: bool,
}

/// Changes a data-in channel; absent members stay as they are.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateDataIn {
    /// A new name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Another size.
    #[serde(default)]
    pub performance_profile: Option<String>,
    /// Another timing.
    #[serde(default)]
    pub timing: Option<Timing>,
    /// Run every check and quote the price; change nothing.
    #[serde(default)]
    pub validate_only: bool,
}

/// Tells `null` (remove it) from an absent member (leave it).
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_removes_a_quota_and_absence_keeps_it() {
        let keep: UpdateDataOut = serde_json::from_value(json!({})).unwrap();
        let remove: UpdateDataOut = serde_json::from_value(json!({"quota": null})).unwrap();
        assert_eq!((keep.quota, remove.quota), (None, Some(None)));
    }
}
