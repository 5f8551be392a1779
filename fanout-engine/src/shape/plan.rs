//! A compiled scope.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::common::DFSchema;
use headgate_lake::{declared_fields, is_keyed};
use headgate_types::schema::{ElementKind, Field, Schema};
use headgate_types::selection::Scope;
use headgate_types::{ElementId, FieldError, SchemaId};

use super::ShapeError;
use super::expression::{self, Checked, Refused};
use super::filter::Filter;
use super::identity::{FilterId, PlanId, RecordIds};
use super::output::{self, OutputColumn};

/// What a plan is compiled from.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// The element.
    pub element: ElementId,
    /// What it is.
    pub kind: ElementKind,
    /// The id of `schema`.
    pub schema_id: SchemaId,
    /// The element's schema.
    pub schema: &'a Schema,
    /// Rows, columns, policy and output model.
    pub scope: &'a Scope,
    /// The platform's key from which record ids are derived.
    pub record_id_key: &'a [u8; 32],
}

/// A compiled scope over one version of one element's schema. Immutable, shared, cheap to keep.
#[derive(Debug)]
pub struct Plan {
    id: PlanId,
    element: ElementId,
    kind: ElementKind,
    schema_id: SchemaId,
    pub(super) declared: SchemaRef,
    pub(super) filter: Arc<Filter>,
    pub(super) outputs: Vec<OutputColumn>,
    pub(super) output_arrow: SchemaRef,
    /// Declared columns that reach the receiver: a change in others is not delivered.
    pub(super) sources: Vec<usize>,
    /// Declared columns that are read at all.
    pub(super) used: Vec<usize>,
    /// Declared columns that expressions of outputs read; `None` without such expressions.
    pub(super) computed: Option<Vec<usize>>,
    /// Declared key columns.
    pub(super) keys: Vec<usize>,
    pub(super) record_ids: RecordIds,
    output_schema: Schema,
}

impl Plan {
    /// Compiles a scope.
    ///
    /// # Errors
    /// Everything that is wrong with it; pointers are relative to the scope: `/filter`,
    /// `/columns/0`, `/model/filter`, `/model/fields/2/expression`, `/policy/filter`.
    pub fn compile(input: PlanInput<'_>) -> Result<Self, Vec<FieldError>> {
        let PlanInput { schema, scope, .. } = input;
        let mut errors = Vec::new();
        let declared = Arc::new(ArrowSchema::new(declared_fields(schema)));

        let allowed = named(schema, &scope.policy.columns, schema, "/policy/columns", &mut errors);
        let visible = Schema { fields: allowed };
        let columns = named(&visible, &scope.columns, &visible, "/columns", &mut errors);
        let in_scope = Schema { fields: columns };
        let visible_arrow = ArrowSchema::new(declared_fields(&visible));

        let mut predicates = Vec::new();
        for (text, over, pointer) in [
            (&scope.policy.filter, declared.as_ref(), "/policy/filter"),
            (&scope.filter, &visible_arrow, "/filter"),
            (&scope.model.filter, &visible_arrow, "/model/filter"),
        ] {
            let Some(text) = text.as_deref().filter(|text| !text.trim().is_empty()) else { continue };
            match expression::predicate(text, over) {
                Ok(checked) => predicates.push(checked),
                Err(refused) => errors.push(at(pointer, refused)),
            }
        }
        // The same scope in another order is the same scope.
        predicates.sort_by(|a, b| a.text.cmp(&b.text));
        predicates.dedup_by(|a, b| a.text == b.text);

        let specs = output::specify(&scope.model.fields, &in_scope, &mut errors);
        if is_keyed(input.kind) {
            keys_reach_receiver(schema, &visible, &in_scope, scope, &specs, &mut errors);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Self::assemble(input, declared, &predicates, specs).map_err(|detail| {
            // Checked expressions compile; what does not is an operand the kernels do not have.
            vec![FieldError::new("", "expression_not_supported", detail)]
        })
    }

    fn assemble(
        input: PlanInput<'_>,
        declared: SchemaRef,
        predicates: &[Checked],
        specs: Vec<output::Specification>,
    ) -> Result<Self, String> {
        let df = DFSchema::try_from(declared.as_ref().clone()).map_err(|error| error.strip_backtrace())?;
        let outputs = specs
            .into_iter()
            .map(|spec| OutputColumn::new(spec, &declared, &df))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.strip_backtrace())?;

        let keys: Vec<usize> =
            input.schema.fields.iter().enumerate().filter(|(_, field)| field.key).map(|(at, _)| at).collect();
        let mut sources: BTreeSet<usize> = keys.iter().copied().collect();
        sources.extend(outputs.iter().flat_map(|output| output.reads.iter().copied()));
        let computed: Vec<_> = outputs.iter().filter(|output| output.is_computed()).collect();
        let computed = (!computed.is_empty()).then(|| {
            let read: BTreeSet<usize> = computed.iter().flat_map(|output| output.reads.iter().copied()).collect();
            read.into_iter().collect()
        });
        let mut used = sources.clone();
        for column in predicates.iter().flat_map(Checked::columns) {
            used.extend(declared.index_of(&column).ok());
        }

        let predicate_text: String =
            predicates.iter().map(|checked| format!("{}:{};", checked.text.len(), checked.text)).collect();
        let filter_id = FilterId::of(&[
            b"headgate/filter/1",
            input.element.uuid().as_bytes(),
            input.schema_id.uuid().as_bytes(),
            predicate_text.as_bytes(),
        ]);
        let filter = Filter::compile(filter_id, &declared, &df, predicates).map_err(|error| error.strip_backtrace())?;
        let shape: String = outputs.iter().map(|output| output.identity.as_str()).collect();
        let id = PlanId::of(&[
            b"headgate/plan/1/json",
            input.element.uuid().as_bytes(),
            input.schema_id.uuid().as_bytes(),
            input.kind.as_str().as_bytes(),
            predicate_text.as_bytes(),
            shape.as_bytes(),
        ]);
        let output_schema = Schema { fields: outputs.iter().map(|output| output.field.clone()).collect() };
        Ok(Self {
            id,
            element: input.element,
            kind: input.kind,
            schema_id: input.schema_id,
            declared,
            filter: Arc::new(filter),
            output_arrow: Arc::new(ArrowSchema::new(declared_fields(&output_schema))),
            outputs,
            sources: sources.into_iter().collect(),
            used: used.into_iter().collect(),
            computed,
            keys,
            record_ids: RecordIds::new(input.record_id_key, input.element, &predicate_text),
            output_schema,
        })
    }

    /// The plan's identity: what shapes alike has the same.
    #[must_use]
    pub const fn id(&self) -> PlanId {
        self.id
    }

    /// The element.
    #[must_use]
    pub const fn element(&self) -> ElementId {
        self.element
    }

    /// The version of the element's schema it was compiled for.
    #[must_use]
    pub const fn schema_id(&self) -> SchemaId {
        self.schema_id
    }

    /// Whether records replace one another by key; they then carry `_op`.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        is_keyed(self.kind)
    }

    /// The fields of a shaped record in order, without `_id` and `_op`.
    #[must_use]
    pub const fn output_schema(&self) -> &Schema {
        &self.output_schema
    }

    /// The plan's effective predicate.
    #[must_use]
    pub const fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// Which rows of a batch of declared columns match, never null; `None`: all.
    pub(super) fn matches(&self, declared: &RecordBatch) -> Result<Option<BooleanArray>, ShapeError> {
        self.filter.matches(declared)
    }
}

pub(super) fn at(pointer: impl Into<String>, refused: Refused) -> FieldError {
    FieldError::new(pointer, refused.code, refused.detail)
}

/// The fields of `schema` named by `names`, all when there are none. Errors mention only fields of
/// `known`: what a policy hides does not exist.
fn named(schema: &Schema, names: &[String], known: &Schema, pointer: &str, errors: &mut Vec<FieldError>) -> Vec<Field> {
    if names.is_empty() {
        return schema.fields.clone();
    }
    let mut seen = HashSet::new();
    let mut fields = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        match known.field(name) {
            None => errors.push(FieldError::new(pointer, "unknown_column", format!("there is no field {name:?}"))),
            Some(_) if !seen.insert(name) => {
                errors.push(FieldError::new(pointer, "duplicate_column", format!("the field {name:?} is named twice")));
            }
            Some(field) => fields.push(field.clone()),
        }
    }
    fields
}

/// A receiver of keyed records replaces and deletes by key, so the key has to reach it unchanged.
fn keys_reach_receiver(
    schema: &Schema,
    visible: &Schema,
    in_scope: &Schema,
    scope: &Scope,
    specs: &[output::Specification],
    errors: &mut Vec<FieldError>,
) {
    for key in schema.keys() {
        let carried = specs.iter().any(|spec| spec.is_key && spec.source_name() == Some(key.name.as_str()));
        if carried {
            continue;
        }
        let (pointer, detail) = if visible.field(&key.name).is_none() {
            (
                "/policy/columns",
                "the grant hides a key field, without which records cannot be kept up to date".to_owned(),
            )
        } else if in_scope.field(&key.name).is_none() && !scope.columns.is_empty() {
            ("/columns", format!("the key field {:?} is missing; records are kept up to date by it", key.name))
        } else {
            ("/model/fields", format!("no field takes the key field {:?} unchanged (\"from\")", key.name))
        };
        errors.push(FieldError::new(pointer, "key_missing", detail));
    }
}
