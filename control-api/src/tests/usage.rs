//! What was used and what it costs.

use std::sync::atomic::Ordering;

use http::Method;
use serde_json::json;

use crate::http::rate::RateLimits;
use crate::testing::TestApi;

#[tokio::test]
async fn requests_are_booked_summed_billed_and_exported() {
    for api in TestApi::all().await {
        let (tenant, other) = (api.tenant("Farm").await, api.tenant("b").await);
        for _ in 0..2 {
            api.get(&tenant.token, "/v1/orders").await.expect(200);
        }
        let (channel, _) = api.element(&tenant, "weather").await;
        // The fourth is not answered as it should be, and is ours to pay.
        api.engine.down.store(true, Ordering::SeqCst);
        api.get(&tenant.token, &format!("/v1/data-in-channels/{channel}/statistics")).await.expect(503);
        api.engine.down.store(false, Ordering::SeqCst);
        api.state.flush().await.unwrap();
        // A bill has what was stored before its cut-off, which is now.
        api.clock.advance(chrono::TimeDelta::seconds(1));
        let usage = api.get(&tenant.token, "/v1/usage?group_by=day").await.expect(200);
        assert_eq!(
            (usage.body["items"][0]["meter"].as_str(), usage.body["items"][0]["quantity"].as_i64()),
            (Some("api.requests"), Some(3))
        );
        assert!(api.get(&other.token, "/v1/usage").await.expect(200).body["items"].as_array().unwrap().is_empty());

        let bill = api.get(&tenant.token, "/v1/usage/invoice-preview?month=2026-01").await.expect(200);
        assert_eq!(bill.body["period_end"], "2026-02-01T00:00:00Z");
        assert!(bill.body["lines"].as_array().unwrap().iter().any(|line| line["meter"] == "api.requests"));

        let path = "/v1/usage/export?month=2026-01&cutoff=2026-01-20T00:00:00Z";
        let file = api.get(&tenant.token, path).await.expect(200);
        assert!(file.text.starts_with("BilledCost,") && file.text.contains("Farm"), "{}", file.text);
        assert!(file.header("repr-digest").starts_with("sha-256=:"));
        assert_eq!(api.get(&tenant.token, path).await.text, file.text);
        let manifest = api.get(&tenant.token, &format!("{path}&format=manifest")).await.expect(200);
        assert_eq!(manifest.body["rows"].as_u64(), Some(file.text.lines().count() as u64 - 1));
        let admin = format!("/v1/admin/tenants/{}/usage/export?month=2026-01&cutoff=2026-01-20T00:00:00Z", tenant.id);
        assert_eq!(api.get(&api.admin, &admin).await.expect(200).text, file.text);
    }
}

#[tokio::test]
async fn a_wrong_period_or_group_is_named() {
    for api in TestApi::all().await {
        let tenant = api.tenant("a").await;
        let reply = api.get(&tenant.token, "/v1/usage?from=2026-02-01&to=2026-01-01").await.expect(422);
        assert_eq!(reply.code(), "period_refused");
        assert_eq!(api.get(&tenant.token, "/v1/usage?group_by=mood").await.expect(400).pointers(), ["group_by"]);
        assert_eq!(api.get(&tenant.token, "/v1/usage/export?month=soon").await.expect(400).pointers(), ["month"]);
        assert_eq!(api.get(&tenant.token, "/v1/usage?from=yesterday").await.expect(400).pointers(), ["from"]);
    }
}

#[tokio::test]
async fn a_rate_card_is_entered_as_a_revision_and_never_for_the_past() {
    for api in TestApi::all().await {
        let card = json!({"currency": "EUR", "rounding_decimals": 2, "prices": []});
        let put =
            |body: serde_json::Value| api.call(Method::PUT, "/v1/admin/rate-card").token(&api.admin).json(&body).send();
        let past = put(json!({"card": card, "valid_from": "2020-01-01T00:00:00Z"})).await.expect(422);
        assert_eq!(past.pointers(), ["/valid_from"]);
        let entered = put(json!({"card": card})).await.expect(200);
        assert_eq!((entered.body["revision"].as_u64(), entered.body["currency"].as_str()), (Some(2), Some("EUR")));
        assert_eq!(api.get(&api.admin, "/v1/admin/rate-card").await.expect(200).body["revision"], 2);
        let all = api.get(&api.admin, "/v1/admin/rate-cards").await.expect(200);
        assert_eq!(all.body["items"].as_array().unwrap().len(), 2);
        let wrong =
            put(json!({"card": {"currency": "euros!", "rounding_decimals": 2, "prices": []}})).await.expect(422);
        assert!(wrong.pointers()[0].starts_with("/card"), "{}", wrong.text);
    }
}

#[tokio::test]
async fn a_tenants_own_request_quota_holds() {
    for api in TestApi::with_limits(RateLimits::default()).await {
        let tenant = api.tenant("a").await;
        let path = format!("/v1/admin/tenants/{}/quota", tenant.id);
        let call = api.call(Method::PUT, &path).token(&api.admin).header("if-match", "*");
        call.json(&json!({"requests_per_second": 1})).send().await.expect(200);
        let mut granted = 0;
        while api.get(&tenant.token, "/v1/orders").await.status == 200 {
            granted += 1;
            assert!(granted < 100, "the quota does not bite");
        }
        assert_eq!(granted, 10);
    }
}
