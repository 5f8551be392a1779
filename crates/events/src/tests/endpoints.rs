use headgate_types::{Coded, EndpointId, TenantId};
use secrecy::ExposeSecret;

use super::worlds;
use crate::endpoints::{self, MAX_ENDPOINTS};
use crate::{EndpointPatch, EndpointState, EventType, EventsError, NewEndpoint};

#[tokio::test]
async fn endpoints_are_created_changed_and_deleted() {
    for world in worlds().await {
        let tenant = TenantId::new();
        let (endpoint, secret) = world.endpoint(tenant, "http://127.0.0.1:9/x", vec![EventType::OrderFailed]).await;
        assert!(secret.expose_secret().starts_with("whsec_"));
        assert!(!format!("{endpoint:?} {secret:?} {:?}", world.events).contains(secret.expose_secret()));
        assert_eq!(world.read(tenant, &endpoint).await, endpoint);
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let patch = EndpointPatch { types: Some(Vec::new()), ..EndpointPatch::default() };
        let stale = world.events.update_endpoint(&mut tx, tenant, endpoint.id, patch.clone(), Some(7)).await;
        assert!(matches!(stale, Err(EventsError::VersionMismatch)));
        let changed = world.events.update_endpoint(&mut tx, tenant, endpoint.id, patch, Some(1)).await.unwrap();
        assert_eq!((changed.version, changed.types.len(), &changed.url), (2, 0, &endpoint.url));
        let stale = endpoints::delete(&mut tx, tenant, endpoint.id, Some(1)).await;
        assert!(matches!(stale, Err(EventsError::VersionMismatch)));
        endpoints::delete(&mut tx, tenant, endpoint.id, Some(2)).await.unwrap();
        assert!(endpoints::list(&mut tx, tenant).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_endpoint_that_may_not_be_reached_is_refused_with_its_place() {
    for world in worlds().await {
        let tenant = TenantId::new();
        let (endpoint, _) = world.endpoint(tenant, "http://127.0.0.1:9/x", Vec::new()).await;
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[::ffff:10.0.0.1]/",
            "https://user:pass@example.com/",
            "file:///etc/passwd",
            "not a url",
            &format!("https://example.com/{}", "x".repeat(3_000)),
        ] {
            let new = NewEndpoint { url: url.to_owned(), description: String::new(), types: Vec::new() };
            let error = world.events.create_endpoint(&mut tx, tenant, new).await.unwrap_err();
            assert_eq!(error.fields()[0].pointer, "/url", "{url}");
            let patch = EndpointPatch { url: Some(url.to_owned()), ..EndpointPatch::default() };
            let error = world.events.update_endpoint(&mut tx, tenant, endpoint.id, patch, None).await.unwrap_err();
            assert_eq!(error.fields()[0].pointer, "/url", "{url}");
        }
    }
}

#[tokio::test]
async fn a_tenant_has_a_limited_number_of_endpoints() {
    for world in worlds().await {
        let tenant = TenantId::new();
        let mut tx = world.db.control.tenant(tenant).await.unwrap();
        let new = || NewEndpoint { url: "https://example.com/".to_owned(), description: String::new(), types: vec![] };
        for _ in 0..MAX_ENDPOINTS {
            world.events.create_endpoint(&mut tx, tenant, new()).await.unwrap();
        }
        let error = world.events.create_endpoint(&mut tx, tenant, new()).await.unwrap_err();
        assert_eq!(error.fields()[0].code, "too_many_endpoints");
    }
}

#[tokio::test]
async fn another_tenants_endpoint_is_not_found() {
    for world in worlds().await {
        let (a, b) = (TenantId::new(), TenantId::new());
        let (endpoint, _) = world.endpoint(a, "http://127.0.0.1:9/x", Vec::new()).await;
        let event = world.emit(b, EventType::ChannelReady, "x").await;
        let clock = world.clock();
        for id in [endpoint.id, EndpointId::new()] {
            let mut tx = world.db.control.tenant(b).await.unwrap();
            let disable = EndpointPatch { state: Some(EndpointState::Disabled), ..EndpointPatch::default() };
            let results = [
                endpoints::get(&mut tx, b, id).await.err(),
                endpoints::delete(&mut tx, b, id, None).await.err(),
                endpoints::attempts(&mut tx, b, id, None, 10).await.err(),
                endpoints::deliveries(&mut tx, b, id, None, 10).await.err(),
                endpoints::resend(&mut tx, b, id, event, &clock).await.err(),
                endpoints::recover(&mut tx, b, id, headgate_types::Clock::now(&*world.clock), &clock).await.err(),
                world.events.update_endpoint(&mut tx, b, id, disable, None).await.err(),
                world.events.rotate_endpoint_secret(&mut tx, b, id, chrono::TimeDelta::zero()).await.err(),
            ];
            drop(tx);
            for error in results {
                assert!(matches!(error, Some(EventsError::NotFound("endpoint"))), "{error:?}");
            }
            let example = world.events.send_example(b, id, EventType::ChannelReady).await;
            assert!(matches!(example, Err(EventsError::NotFound("endpoint"))));
        }
        assert_eq!(world.read(a, &endpoint).await.state, EndpointState::Active);
    }
}
