use headgate_database::testing::databases;
use headgate_types::TenantId;
use headgate_types::selection::Policy;

use super::*;
use crate::CatalogError;
use crate::elements::ElementFilter;

async fn sees(db: &Db, viewer: TenantId) -> Vec<ElementId> {
    let mut tx = db.read_tenant(viewer).await.unwrap();
    let filter = ElementFilter { viewer: Some(viewer), limit: 100, ..ElementFilter::default() };
    let found = elements::list(&mut tx, &filter).await.unwrap();
    found.into_iter().map(|visible| visible.element.id).collect()
}

#[tokio::test]
async fn an_element_is_private_until_it_is_granted_and_again_after() {
    for db in databases().await.unwrap() {
        let (owner, friend, stranger) = (TenantId::new(), TenantId::new(), TenantId::new());
        let element = published(&db.control, owner, element_spec("weather/obs")).await.id;
        assert_eq!(sees(&db.control, owner).await, [element]);
        assert!(sees(&db.control, friend).await.is_empty());

        let grant = granted(&db.control, owner, element, Grantee::Tenant(friend), Policy::default()).await;
        assert_eq!(sees(&db.control, friend).await, [element], "{}", db.name);
        assert!(sees(&db.control, stranger).await.is_empty());

        let public = granted(&db.control, owner, element, Grantee::Public, Policy::default()).await;
        assert_eq!(sees(&db.control, stranger).await, [element]);

        let mut tx = db.control.tenant(owner).await.unwrap();
        let given = grants::list(&mut tx, owner, Some(element), None, 10).await.unwrap();
        assert_eq!(given, [public.clone(), grant.clone()]);
        assert_eq!(
            grants::list(&mut tx, owner, None, Some(public.id), 10).await.unwrap(),
            std::slice::from_ref(&grant)
        );
        grants::revoke(&mut tx, owner, public.id, now()).await.unwrap();
        grants::revoke(&mut tx, owner, grant.id, now()).await.unwrap();
        assert!(matches!(grants::revoke(&mut tx, owner, grant.id, now()).await, Err(CatalogError::NotFound(_))));
        tx.commit().await.unwrap();
        assert!(sees(&db.control, friend).await.is_empty());
        assert!(sees(&db.control, stranger).await.is_empty());
    }
}

#[tokio::test]
async fn a_grant_by_name_counts_before_the_public_one_and_masks_columns() {
    for db in databases().await.unwrap() {
        let (owner, friend, stranger) = (TenantId::new(), TenantId::new(), TenantId::new());
        let element = published(&db.control, owner, element_spec("weather/obs")).await.id;
        let narrow = Policy { filter: None, columns: vec!["station".into(), "temp".into()] };
        granted(&db.control, owner, element, Grantee::Public, narrow.clone()).await;
        let first = granted(&db.control, owner, element, Grantee::Tenant(friend), narrow.clone()).await;
        // Given again it is the same grant with another policy.
        let again = granted(&db.control, owner, element, Grantee::Tenant(friend), Policy::default()).await;
        assert_eq!((first.id, &again.policy), (again.id, &Policy::default()), "{}", db.name);

        for (viewer, policy, columns) in
            [(owner, Policy::default(), 3), (friend, Policy::default(), 3), (stranger, narrow, 2)]
        {
            let mut tx = db.control.read_tenant(viewer).await.unwrap();
            assert_eq!(grants::policy_for(&mut tx, viewer, element).await.unwrap(), Some(policy.clone()));
            let visible = elements::visible(&mut tx, viewer, element).await.unwrap();
            assert_eq!((visible.policy, visible.owned), (policy, viewer == owner));
            let schema = elements::visible_schema(&mut tx, viewer, element).await.unwrap().schema;
            assert_eq!(schema.fields.len(), columns, "{}", db.name);
            // Nor is a hidden column found by its name.
            let text = Some("weather secret_note".to_owned());
            let filter = ElementFilter { viewer: Some(viewer), text, limit: 10, ..ElementFilter::default() };
            assert_eq!(elements::list(&mut tx, &filter).await.unwrap().is_empty(), columns == 2, "{}", db.name);
        }
    }
}

#[tokio::test]
async fn a_grant_that_makes_no_sense_is_refused() {
    for db in databases().await.unwrap() {
        let owner = TenantId::new();
        let element = published(&db.control, owner, element_spec("weather/obs")).await.id;
        let mut tx = db.control.tenant(owner).await.unwrap();
        let new = NewGrant {
            owner,
            element,
            grantee: Grantee::Tenant(owner),
            policy: Policy { filter: Some(" ".into()), columns: vec!["station".into(), "nothing".into()] },
        };
        let Err(CatalogError::Refused { fields, .. }) = grants::grant(&mut tx, &new, now()).await else {
            panic!("accepted on {}", db.name);
        };
        let places: Vec<_> = fields.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(places, ["/grantee", "/policy/columns/1", "/policy/filter"]);

        drop(tx);

        // Only the owner grants.
        let thief = TenantId::new();
        let mut tx = db.control.tenant(thief).await.unwrap();
        let new = NewGrant { owner: thief, element, grantee: Grantee::Public, policy: Policy::default() };
        assert!(matches!(grants::grant(&mut tx, &new, now()).await, Err(CatalogError::NotFound(_))));
    }
}
