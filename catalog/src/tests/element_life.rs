//! Every operation on an element in every state.

use std::fmt::Write;

use headgate_database::testing::databases;

use super::*;
use crate::elements::ElementState::{self, Provisioning, Published, Retired};
use crate::error::CatalogError;

#[tokio::test]
async fn what_becomes_of_an_element_is_what_was_reviewed() {
    for db in databases().await.unwrap() {
        let owner = TenantId::new();
        let mut table = String::new();
        for from in [Provisioning, Published, Retired] {
            for operation in ["publish", "retire", "retire_all", "update", "remove"] {
                let name = format!("{from}-{operation}").to_lowercase();
                let mut tx = db.control.tenant(owner).await.unwrap();
                let new = NewElement { id: ElementId::new(), tenant: owner, spec: element_spec(&name) };
                let id = elements::insert(&mut tx, &new, now()).await.unwrap().id;
                if from != Provisioning {
                    elements::publish(&mut tx, owner, id, now()).await.unwrap();
                }
                if from == Retired {
                    elements::retire(&mut tx, owner, id, now()).await.unwrap();
                }
                let done: Result<(), CatalogError> = match operation {
                    "publish" => elements::publish(&mut tx, owner, id, later(1)).await,
                    "retire" => elements::retire(&mut tx, owner, id, later(1)).await,
                    "retire_all" => elements::retire_all(&mut tx, owner, later(1)).await.map(drop),
                    "update" => {
                        elements::update(&mut tx, owner, id, &elements::ElementChange::default(), None, later(1))
                            .await
                            .map(drop)
                    }
                    _ => elements::remove(&mut tx, owner, id).await,
                };
                let then: Option<ElementState> = elements::find(&mut tx, id).await.unwrap().map(|found| found.state);
                let then = then.map_or_else(|| "gone".to_owned(), |state| state.to_string());
                let result = done.map_or_else(|error| format!("{then} ({error})"), |()| then.clone());
                writeln!(table, "{from} {operation}: {result}").unwrap();
            }
        }
        assert_eq!(table, include_str!("element_life.txt"), "{}\n{table}", db.name);
    }
}
