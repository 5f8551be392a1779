use headgate_database::testing::databases;

use super::*;

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey { key: Some(text.to_owned()), request_line: "POST /v1/data-out-channels".to_owned() }
}

fn owner() -> Owner {
    Owner { tenant: TenantId::new(), client: ClientId::new() }
}

fn now() -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

async fn once(db: &Db, in_flight: &InFlight, owner: Owner, text: &str, body: u8) -> Result<Once, ApiError> {
    key(text).once(db, in_flight, owner, &[body; 32], now()).await
}

async fn answered(db: &Db, in_flight: &InFlight, owner: Owner) -> Answer {
    let Once::New(pending) = once(db, in_flight, owner, "k", 1).await.unwrap() else { panic!("new") };
    let tx = db.tenant(owner.tenant).await.unwrap();
    let answer = Answer::accepted("/v1/orders/1".to_owned(), &serde_json::json!({"id": 1}));
    pending.commit(tx, answer).await.unwrap()
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    for db in databases().await.unwrap() {
        let (in_flight, owner) = (InFlight::default(), owner());
        let first = answered(&db.control, &in_flight, owner).await;
        let Once::Replay(again) = once(&db.control, &in_flight, owner, "k", 1).await.unwrap() else { panic!("replay") };
        assert_eq!(again, Answer { replayed: true, ..first });
        assert_eq!(again.into_response().headers()[REPLAYED], "true");
    }
}

#[tokio::test]
async fn a_key_used_for_another_body_is_refused() {
    for db in databases().await.unwrap() {
        let (in_flight, owner) = (InFlight::default(), owner());
        answered(&db.control, &in_flight, owner).await;
        let error = once(&db.control, &in_flight, owner, "k", 2).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.problem.code.as_str()), (422, "idempotency_key_reused"));
    }
}

#[tokio::test]
async fn a_key_in_flight_is_a_conflict_until_its_request_ends() {
    for db in databases().await.unwrap() {
        let (in_flight, owner) = (InFlight::default(), owner());
        let first = once(&db.control, &in_flight, owner, "k", 1).await.unwrap();
        let error = once(&db.control, &in_flight, owner, "k", 1).await.unwrap_err();
        assert_eq!(error.problem.code, "idempotency_key_in_flight");
        drop(first);
        assert!(matches!(once(&db.control, &in_flight, owner, "k", 1).await.unwrap(), Once::New(_)));
    }
}

#[tokio::test]
async fn two_processes_with_one_key_have_one_effect() {
    for db in databases().await.unwrap() {
        let owner = owner();
        let (here, there) = (InFlight::default(), InFlight::default());
        let Once::New(late) = once(&db.control, &there, owner, "k", 1).await.unwrap() else { panic!("new") };
        answered(&db.control, &here, owner).await;
        let tx = db.control.tenant(owner.tenant).await.unwrap();
        let error = late.commit(tx, Answer::ok(&1)).await.unwrap_err();
        assert_eq!(error.problem.code, "idempotency_key_in_flight");
    }
}

#[tokio::test]
async fn keys_of_other_clients_and_tenants_are_other_keys() {
    for db in databases().await.unwrap() {
        let (in_flight, first) = (InFlight::default(), owner());
        answered(&db.control, &in_flight, first).await;
        for other in [owner(), Owner { client: ClientId::new(), ..first }] {
            assert!(matches!(once(&db.control, &in_flight, other, "k", 1).await.unwrap(), Once::New(_)));
        }
    }
}

#[tokio::test]
async fn keys_are_bare_or_quoted_and_capped() {
    for (text, wanted) in
        [("abc", Some("abc")), ("\"abc\"", Some("abc")), ("a b", Some("a b")), ("a\"b", None), ("", None)]
    {
        let request = http::Request::builder().header(IDEMPOTENCY_KEY, text).body(()).unwrap();
        let key = IdempotencyKey::from_request_parts(&mut request.into_parts().0, &()).await;
        assert_eq!(key.ok().and_then(|key| key.key).as_deref(), wanted, "{text}");
    }
    let request = http::Request::builder().header(IDEMPOTENCY_KEY, "x".repeat(256)).body(()).unwrap();
    assert!(IdempotencyKey::from_request_parts(&mut request.into_parts().0, &()).await.is_err());
}
