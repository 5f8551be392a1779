//! Keys of another issuer: which are taken, and for how long.

use chrono::TimeDelta;
use headgate_types::{Coded, ErrorKind};

use super::*;

async fn rig(keys: &Value) -> (Rig, Value, Value) {
    let rig = Rig::one(keys).await;
    let tenant = rig.world.tenant("a").await;
    rig.bind(tenant, OIDC, IdentityKind::Client, "robot").await;
    let (header, claims) = rig.machine(OIDC, "robot", "data.read");
    (rig, header, claims)
}

fn only(key: Value) -> Value {
    json!({"keys": [key]})
}

/// A token that is good for as long as this clock goes.
fn renewed(rig: &Rig, header: &Value, claims: &Value, kid: &str) -> String {
    let claims = with(&with(claims, "iat", json!(rig.now())), "exp", json!(rig.now() + 600));
    signed(&with(header, "kid", json!(kid)), &claims)
}

#[tokio::test]
async fn a_key_verifies_by_its_own_algorithm_and_only_if_it_is_made_for_that() {
    let good = rsa_key("rsa");
    let other_alg = |alg: &str| with(&good, "alg", json!(alg));
    for (what, key) in [
        ("for encryption", with(&good, "use", json!("enc"))),
        ("for something unknown", with(&good, "use", json!("all"))),
        ("for signing only", with(&good, "key_ops", json!(["sign"]))),
        ("of another algorithm", other_alg("RS512")),
        ("of another padding", other_alg("PS256")),
        ("for key wrapping", other_alg("RSA-OAEP")),
        ("of no algorithm", other_alg("none")),
        ("of a shared secret", other_alg("HS256")),
        ("that is a shared secret", json!({"kty": "oct", "kid": "rsa", "alg": "HS256", "k": file("rsa.n")})),
        ("with its private half", with(&good, "d", json!("AQAB"))),
        ("with an even exponent", with(&good, "e", json!("AQAC"))),
        ("with the exponent one", with(&good, "e", json!("AQ"))),
        ("with a huge exponent", with(&good, "e", json!(file("rsa.n")))),
        ("without a modulus", without(&good, "n")),
        ("with an unreadable modulus", with(&good, "n", json!("+/+/"))),
        ("of a curve", with(&good, "crv", json!("P-256"))),
        ("without a name", without(&good, "kid")),
        ("that is no object", json!("rsa")),
    ] {
        let (rig, header, claims) = rig(&only(key)).await;
        let error = rig.access.verify(&signed(&header, &claims)).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{what}: {error}");
    }
    for (what, key) in [
        ("without use and algorithm", without(&without(&good, "use"), "alg")),
        ("for verifying", with(&good, "key_ops", json!(["verify"]))),
        ("with members of others", with(&good, "x5t", json!("x"))),
    ] {
        let (rig, header, claims) = rig(&only(key)).await;
        assert!(rig.access.verify(&signed(&header, &claims)).await.is_ok(), "{what}");
    }
}

#[tokio::test]
async fn an_rsa_key_below_2048_bits_is_not_a_key() {
    let (rig, header, claims) = rig(&json!({"keys": [rsa_key("weak"), rsa_key("rsa")]})).await;
    let header = with(&header, "kid", json!("weak"));
    let token = signed_by("weak.pem", Algorithm::RS256, &header.to_string(), &claims.to_string());
    let error = rig.access.verify(&token).await.unwrap_err();
    assert!(matches!(error, AccessError::InvalidToken("its key is unknown")), "{error}");
    // Leading zeros make it no longer.
    let padded = [vec![0; 128], BASE64_URL_SAFE_NO_PAD.decode(file("weak.n")).unwrap()].concat();
    let key = with(&rsa_key("weak"), "n", json!(BASE64_URL_SAFE_NO_PAD.encode(padded)));
    rig.publisher.set(Answer::Text(only(key).to_string()));
    rig.world.clock.advance(TimeDelta::minutes(2));
    let error = rig.access.verify(&token).await.unwrap_err();
    assert!(matches!(error, AccessError::InvalidToken("its key is unknown")), "{error}");
}

#[tokio::test]
async fn an_elliptic_key_verifies_and_two_keys_of_one_name_do_not() {
    let (rig, header, claims) = rig(&json!({"keys": [ec_key(), rsa_key("rsa"), rsa_key("rsa")]})).await;
    let ec = with(&with(&header, "kid", json!("ec")), "alg", json!("ES256"));
    let token = |pem, algorithm, header: &Value| signed_by(pem, algorithm, &header.to_string(), &claims.to_string());
    assert!(rig.access.verify(&token("ec.pem", Algorithm::ES256, &ec)).await.is_ok());
    assert!(rig.access.verify(&token("rsa.pem", Algorithm::RS256, &ec)).await.is_err());
    assert!(rig.access.verify(&signed(&header, &claims)).await.is_err(), "which of the two is not said");
}

#[tokio::test]
async fn keys_are_asked_for_again_when_they_are_old_or_a_name_is_unknown_at_most_once_a_minute() {
    let (rig, header, claims) = rig(&only(rsa_key("rsa"))).await;
    let clock = &rig.world.clock;
    let verify = async |kid: &str| rig.access.verify(&renewed(&rig, &header, &claims, kid)).await;
    assert_eq!(rig.publisher.asked(), 0, "nobody asks before a token needs it");
    for _ in 0..3 {
        verify("rsa").await.unwrap();
    }
    assert_eq!(rig.publisher.asked(), 1);
    for n in 0..50 {
        assert!(verify(&format!("guess-{n}")).await.is_err());
    }
    assert_eq!(rig.publisher.asked(), 1, "within the minute of the first");
    clock.advance(TimeDelta::seconds(60));
    for n in 0..50 {
        assert!(verify(&format!("guess-{n}")).await.is_err());
    }
    assert_eq!(rig.publisher.asked(), 2);

    // A new key is found by its name, and the one that is gone is refused.
    rig.publisher.set(Answer::Text(only(with(&rsa_key("rsa"), "kid", json!("new"))).to_string()));
    assert!(verify("new").await.is_err(), "within the minute");
    clock.advance(TimeDelta::seconds(60));
    verify("new").await.unwrap();
    assert_eq!(rig.publisher.asked(), 3);
    assert!(verify("rsa").await.is_err());

    // A key that the issuer withdraws is good for a quarter of an hour at most.
    rig.publisher.set(Answer::Text(json!({"keys": []}).to_string()));
    clock.advance(TimeDelta::minutes(14));
    verify("new").await.unwrap();
    clock.advance(TimeDelta::minutes(1));
    assert!(verify("new").await.is_err());
}

#[tokio::test]
async fn the_last_keys_are_good_for_a_day_while_the_issuer_fails_and_nobody_is_recognised_after_it() {
    for failure in [
        Answer::Status(500),
        Answer::Status(404),
        Answer::Text("garbage".to_owned()),
        Answer::Text("[]".to_owned()),
        Answer::Text("{\"keys\": 7}".to_owned()),
        Answer::Text(json!({"keys": vec![rsa_key("other"); 101]}).to_string()),
        Answer::Away,
        Answer::Long,
    ] {
        let (rig, header, claims) = rig(&only(rsa_key("rsa"))).await;
        let verify = async || rig.access.verify(&renewed(&rig, &header, &claims, "rsa")).await;
        verify().await.unwrap();
        rig.publisher.set(failure.clone());
        for _ in 0..23 {
            rig.world.clock.advance(TimeDelta::hours(1));
            verify().await.unwrap_or_else(|error| panic!("{failure:?}: {error}"));
        }
        assert_eq!(rig.publisher.asked(), 24, "{failure:?}: asked every time, in vain");
        rig.world.clock.advance(TimeDelta::hours(1));
        let error = verify().await.expect_err("a day is over");
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "issuer_unavailable"), "{failure:?}");
        assert_eq!(error.retry_after(), Some(60));
        rig.publisher.set(Answer::Text(only(rsa_key("rsa")).to_string()));
        assert!(verify().await.is_err(), "within the minute");
        rig.world.clock.advance(TimeDelta::minutes(1));
        verify().await.unwrap();
    }
}

#[tokio::test]
async fn an_issuer_that_never_answered_lets_nobody_in() {
    let (rig, header, claims) = rig(&only(rsa_key("rsa"))).await;
    rig.publisher.set(Answer::Status(503));
    let error = rig.access.verify(&signed(&header, &claims)).await.unwrap_err();
    assert_eq!(error.code(), "issuer_unavailable");
    // The built-in one is not concerned.
    let tenant = rig.world.tenant("b").await;
    let (client, secret) = rig.world.client(Some(tenant), Scopes::tenant()).await;
    let token = rig.world.token(&client, &secret).await;
    assert_eq!(rig.access.verify(&token).await.unwrap().tenant, Some(tenant));
}

#[tokio::test]
async fn a_slow_issuer_holds_up_one_caller_and_that_one_not_for_long() {
    let (rig, header, claims) = rig(&only(rsa_key("rsa"))).await;
    rig.access.verify(&renewed(&rig, &header, &claims, "rsa")).await.unwrap();
    rig.publisher.set(Answer::Silence);
    rig.world.clock.advance(TimeDelta::minutes(20));
    let token = renewed(&rig, &header, &claims, "rsa");
    let (asking, access) = (rig.access.clone(), rig.access.clone());
    let first = tokio::spawn({
        let token = token.clone();
        async move { asking.verify(&token).await }
    });
    while rig.publisher.asked() < 2 {
        tokio::task::yield_now().await;
    }
    // The first waits for the issuer; nobody else does.
    for _ in 0..100 {
        access.verify(&token).await.unwrap();
    }
    assert!(!first.is_finished() && rig.publisher.asked() == 2);
    assert!(first.await.unwrap().is_ok(), "it goes on with what there was");
}

#[tokio::test]
async fn keys_are_had_from_the_configured_address_only_and_private_ones_only_where_named() {
    let world = worlds().await.remove(0);
    let publisher = Publisher::start(&only(rsa_key("rsa"))).await;
    let open = async |url: &str, networks: Vec<ipnet::IpNet>| {
        let mut config = world.config.clone();
        let audience = "headgate".to_owned();
        let profile = Profile::Oidc { audience, groups_claim: "groups".to_owned(), scope_prefix: String::new() };
        let mut issuer = publisher.issuer(OIDC, profile);
        (issuer.jwks_url, issuer.networks) = (url.parse().unwrap(), networks);
        config.foreign = vec![issuer];
        Access::open(world.db.control.clone(), world.clock(), config).await
    };
    let port = publisher.address.port();
    for refused in [
        format!("http://127.0.0.1:{port}/keys"),
        "https://10.0.0.1/keys".to_owned(),
        "https://[::ffff:127.0.0.1]/keys".to_owned(),
        "http://169.254.169.254/keys".to_owned(),
        "file:///etc/passwd".to_owned(),
        "https://user:password@login.example.com/keys".to_owned(),
    ] {
        let error = open(&refused, Vec::new()).await.expect_err(&refused);
        assert!(error.to_string().contains("address is refused"), "{error}");
    }
    // A name that leads inside is found out when it is used.
    let access = open(&format!("http://localhost:{port}/keys"), vec!["10.0.0.0/8".parse().unwrap()]).await.unwrap();
    let rig = Rig { access, world, publisher };
    let (header, claims) = rig.machine(OIDC, "robot", "data.read");
    assert_eq!(rig.access.verify(&signed(&header, &claims)).await.unwrap_err().code(), "issuer_unavailable");
    assert_eq!(rig.publisher.asked(), 0);
}

#[test]
fn fuzzed_sets_of_keys_are_read_or_left() {
    let seed = json!({"keys": [rsa_key("rsa"), ec_key(), rsa_key("weak"), {"kty": "OKP", "crv": "Ed25519",
        "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    crate::fuzz::text("crates/access/src/foreign/jwks.rs parse", &[&seed.to_string()], |text| {
        crate::foreign::keys_in(text.as_bytes()).ok_or("no set of keys")
    });
}
