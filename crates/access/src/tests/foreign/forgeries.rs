//! Every way to forge a token of another issuer, against both profiles.

use ed25519_dalek::{Signer, SigningKey};
use headgate_types::{Coded, ErrorKind};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::*;

async fn refused(rig: &Rig, token: &str, what: &str) {
    let error = rig.access.verify(token).await.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{what}: {error}");
    assert!(!format!("{error} {error:?}").contains(token) || token.is_empty(), "{what}");
}

fn hmac(key: &[u8], text: &str) -> String {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// Tokens of a person and of a machine, both good, of one issuer.
async fn good(rig: &Rig, issuer: &str) -> [(Value, Value); 2] {
    let tenant = rig.world.tenant("a").await;
    rig.bind(tenant, issuer, IdentityKind::Group, &format!("farm of {issuer}")).await;
    rig.bind(tenant, issuer, IdentityKind::Client, "robot").await;
    let scope = if issuer == OIDC { "data.read" } else { "headgate/data.read" };
    let tokens = [rig.person(issuer, "person-1", &[&format!("farm of {issuer}")]), rig.machine(issuer, "robot", scope)];
    for token in &tokens {
        assert_eq!(rig.verify(token).await.unwrap().tenant, Some(tenant), "the forger's tools work");
    }
    tokens
}

#[tokio::test]
async fn a_forged_token_of_another_issuer_is_refused_whatever_is_forged() {
    for rig in Rig::all().await {
        for issuer in [OIDC, COGNITO] {
            for (header, claims) in good(&rig, issuer).await {
                headers(&rig, &header, &claims).await;
                times_and_names(&rig, &header, &claims).await;
                signatures(&rig, &header, &claims).await;
            }
        }
    }
}

async fn headers(rig: &Rig, header: &Value, claims: &Value) {
    let key = rsa_key("rsa");
    for (name, value) in [
        ("typ", json!("id+jwt")),
        ("typ", json!("at+jwt2")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("")),
        ("alg", json!("none")),
        ("alg", json!("None")),
        ("alg", json!("HS256")),
        ("alg", json!("RS384")),
        ("alg", json!("PS256")),
        ("alg", json!("ES256")),
        ("alg", json!("rs256")),
        ("alg", json!(null)),
        ("kid", json!("unknown")),
        ("kid", json!("ec")),
        ("kid", json!("")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!(7)),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!([])),
        ("jwk", key),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
    ] {
        let forged = with(header, name, value.clone());
        refused(rig, &signed(&forged, claims), &format!("header {name} = {value}")).await;
    }
    for name in ["alg", "kid"] {
        refused(rig, &signed(&without(header, name), claims), &format!("header without {name}")).await;
    }
    let twice = header.to_string().replacen('{', r#"{"alg":"none","#, 1);
    refused(rig, &signed_by("rsa.pem", Algorithm::RS256, &twice, &claims.to_string()), "alg twice").await;
}

async fn times_and_names(rig: &Rig, header: &Value, claims: &Value) {
    let (now, iss) = (rig.now(), claims["iss"].as_str().unwrap());
    for (name, value) in [
        ("iss", json!(format!("{iss}/"))),
        ("iss", json!(&iss[..iss.len() - 1])),
        ("iss", json!(format!("{iss}2"))),
        ("iss", json!(format!(" {iss}"))),
        ("iss", json!(iss.to_uppercase())),
        ("iss", json!(iss.replace("https", "http"))),
        ("iss", json!(format!("https://evil.example/{iss}"))),
        ("iss", json!([iss])),
        ("iss", json!(null)),
        ("iss", json!("https://issuer.example/")),
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(now + 90_000)),
        ("exp", json!(1e300)),
        ("exp", json!("never")),
        ("nbf", json!(now + 3_600)),
        ("nbf", json!("now")),
        ("iat", json!(now + 3_600)),
        ("iat", json!(null)),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(256))),
        ("client_id", json!("")),
        ("client_id", json!("another")),
        ("scope", json!(["admin"])),
    ] {
        // A person of an OIDC issuer may come by any client: the audience says whom the token is for.
        if name == "client_id" && value == "another" && iss == OIDC && claims["sub"] != claims["client_id"] {
            continue;
        }
        let forged = with(claims, name, value.clone());
        refused(rig, &signed(header, &forged), &format!("{iss}: claim {name} = {value}")).await;
    }
    for name in ["iss", "sub", "client_id", "iat", "exp"] {
        refused(rig, &signed(header, &without(claims, name)), &format!("no claim {name}")).await;
    }
    let twice = claims.to_string().replacen('{', r#"{"sub":"somebody","#, 1);
    refused(rig, &signed_by("rsa.pem", Algorithm::RS256, &header.to_string(), &twice), "sub twice").await;
    let long = with(claims, "padding", json!("x".repeat(8_192)));
    refused(rig, &signed(header, &long), "an oversized token").await;
}

async fn signatures(rig: &Rig, header: &Value, claims: &Value) {
    let (head, text) = (header.to_string(), claims.to_string());
    let token = signed(header, claims);
    let (message, signature) = token.rsplit_once('.').unwrap();
    refused(rig, &format!("{message}."), "an empty signature").await;
    refused(rig, message, "no signature").await;
    let none = part(&with(header, "alg", json!("none")));
    refused(rig, &format!("{none}.{}.", part(claims)), "alg none without a signature").await;
    refused(rig, &signed_by("other.pem", Algorithm::RS256, &head, &text), "another key").await;
    refused(rig, &signed_by("rsa.pem", Algorithm::RS384, &head, &text), "another algorithm of the same key").await;
    // The public key, in each form that it is published or kept in, as the secret of an HMAC.
    let confused = format!("{}.{}", part(&with(header, "alg", json!("HS256"))), part(claims));
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(file("rsa.n")).unwrap();
    let forms = [file("rsa.pub.pem").as_bytes(), file("rsa.n").as_bytes(), &modulus];
    for key in forms {
        refused(rig, &format!("{confused}.{}", hmac(key, &confused)), "HMAC under the public key").await;
        let honest = format!("{}.{}", part(header), part(claims));
        refused(rig, &format!("{honest}.{}", hmac(key, &honest)), "HMAC under the public key").await;
    }
    let escalated = part(&with(claims, "sub", json!("somebody else")));
    refused(rig, &format!("{}.{escalated}.{signature}", part(header)), "changed claims").await;
    for garbage in ["", ".", "..", "a.b.c", &format!("{token}.x"), &format!("{token}=")] {
        refused(rig, garbage, "garbage").await;
    }
}

#[tokio::test]
async fn only_access_tokens_for_this_audience_are_taken_of_an_oidc_issuer() {
    for rig in Rig::all().await {
        for (header, claims) in good(&rig, OIDC).await {
            for (name, value) in
                [("typ", json!("JWT")), ("typ", json!(null)), ("typ", json!("application/jwt")), ("typ", json!(1))]
            {
                refused(&rig, &signed(&with(&header, name, value), &claims), "an ID token's type").await;
            }
            refused(&rig, &signed(&without(&header, "typ"), &claims), "no type").await;
            let application = with(&header, "typ", json!("application/AT+jwt"));
            assert!(rig.access.verify(&signed(&application, &claims)).await.is_ok());
            for aud in [json!("other"), json!([]), json!("headgate2"), json!({"a": "headgate"}), json!(null)] {
                refused(&rig, &signed(&header, &with(&claims, "aud", aud)), "another audience").await;
            }
            for name in ["aud", "jti"] {
                refused(&rig, &signed(&header, &without(&claims, name)), name).await;
            }
        }
    }
}

#[tokio::test]
async fn only_access_tokens_of_known_clients_are_taken_of_a_pool() {
    for rig in Rig::all().await {
        let [(header, person), (_, machine)] = good(&rig, COGNITO).await;
        // The real thing has a type in some libraries.
        assert!(rig.access.verify(&signed(&with(&header, "typ", json!("JWT")), &person)).await.is_ok());
        refused(&rig, &signed(&with(&header, "typ", json!("at+jwt")), &person), "a type of others").await;
        for claims in [&person, &machine] {
            for token_use in [json!("id"), json!("refresh"), json!(null), json!("ACCESS")] {
                refused(&rig, &signed(&header, &with(claims, "token_use", token_use)), "another use").await;
            }
            for name in ["token_use", "scope"] {
                refused(&rig, &signed(&header, &without(claims, name)), name).await;
            }
        }
        // An ID token as Cognito makes it: the audience in the place of the client.
        let id_token = with(&with(&without(&person, "client_id"), "aud", json!("console")), "token_use", json!("id"));
        refused(&rig, &signed(&header, &id_token), "an ID token").await;
        let by_another = with(&person, "client_id", json!("marketing-site"));
        refused(&rig, &signed(&header, &by_another), "a person by an app client of others").await;
        let by_robot = with(&person, "client_id", json!("robot"));
        refused(&rig, &signed(&header, &by_robot), "a person by a machine's app client").await;
        let as_robot = with(&with(&person, "client_id", json!("robot")), "sub", json!("robot"));
        refused(&rig, &signed(&header, &as_robot), "a person that calls itself like a machine").await;
        let unbound = with(&with(&machine, "client_id", json!("other")), "sub", json!("other"));
        refused(&rig, &signed(&header, &unbound), "an app client that nobody bound").await;
        // Another pool with the very same key: what is bound in the one says nothing in the other.
        for claims in [&person, &machine] {
            refused(&rig, &signed(&header, &with(claims, "iss", json!(OTHER_POOL))), "another pool").await;
        }
    }
}

#[tokio::test]
async fn nothing_of_a_token_says_whose_it_is_but_issuer_client_group_and_subject() {
    for rig in Rig::all().await {
        let (a, b) = (rig.world.tenant("a").await, rig.world.tenant("b").await);
        for issuer in [OIDC, COGNITO] {
            rig.bind(a, issuer, IdentityKind::Group, "farm").await;
            let (header, mut claims) = rig.person(issuer, "person-1", &["farm"]);
            for name in ["tenant", "tenant_id", "custom:tenant_id", "org", "azp", "act"] {
                claims[name] = json!(b);
            }
            // The other issuer's word for groups is a custom claim in this one.
            let others = if issuer == OIDC { "cognito:groups" } else { "groups" };
            claims[others] = json!(["barn"]);
            rig.bind(b, issuer, IdentityKind::Group, "barn").await;
            assert_eq!(rig.verify(&(header, claims)).await.unwrap().tenant, Some(a));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fuzzed_tokens_of_another_issuer_are_refused_unless_they_say_what_a_token_says() {
    // The cheapest signatures: many thousands are made.
    let key = SigningKey::from_bytes(&[7; 32]);
    let x = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key());
    let published = json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": x});
    let rig = Rig::one(&json!({"keys": [rsa_key("rsa"), published]})).await;
    let runtime = tokio::runtime::Handle::current();
    for issuer in [OIDC, COGNITO] {
        let [(header, claims), _] = good(&rig, issuer).await;
        let tenant = rig.verify(&(header.clone(), claims.clone())).await.unwrap().tenant;
        let header = with(&with(&header, "alg", json!("EdDSA")), "kid", json!("ed")).to_string();
        let claims = claims.to_string();
        let verify = |token: &str| {
            tokio::task::block_in_place(|| runtime.block_on(rig.access.verify(token)))
                .map(|principal| assert_eq!(principal.tenant, tenant))
                .map_err(|error| {
                    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{token}: {error}");
                    error.to_string()
                })
        };
        let signed = |header: &str, claims: &str| {
            let message =
                format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
            let signature = key.sign(message.as_bytes());
            verify(&format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes())))
        };
        assert!(signed(&header, &claims).is_ok());
        let name = "crates/access/src/foreign/header.rs read_header";
        crate::fuzz::text(name, &[&header], |text| signed(text, &claims));
        crate::fuzz::text("crates/access/src/foreign/claims.rs", &[&claims], |text| signed(&header, text));
    }
}
