//! Compares signing and verifying with the crate `standardwebhooks` as oracle, and tests tampered deliveries.

use http::HeaderValue;
use proptest::prelude::*;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-20 16:00 UTC);

thread_local! {
    /// How many message authentication codes this thread has computed.
    pub(super) static MACS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

fn secret_text(key: &[u8]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(key))
}

fn headers(id: &str, timestamp: &str, signatures: &str) -> HeaderMap {
    HeaderMap::from_iter([
        (http::HeaderName::from_static(WEBHOOK_ID), HeaderValue::from_str(id).unwrap()),
        (http::HeaderName::from_static(WEBHOOK_TIMESTAMP), HeaderValue::from_str(timestamp).unwrap()),
        (http::HeaderName::from_static(WEBHOOK_SIGNATURE), HeaderValue::from_str(signatures).unwrap()),
    ])
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 24..=64)
}

/// An id, a body, and the difference of its timestamp from now.
fn delivery() -> impl Strategy<Value = (String, String, i64)> {
    ("[a-zA-Z0-9_-]{1,40}", any::<String>(), -300i64..=300)
}

proptest! {
    #[test]
    fn ours_is_accepted_by_the_oracle(key in key(), (id, body, _) in delivery()) {
        #[expect(clippy::disallowed_methods, reason = "the oracle reads the system's clock")]
        let now = OffsetDateTime::now_utc();
        let secret = SigningSecret::parse(&secret_text(&key)).unwrap();
        let signature = sign(&secret, &id, now, body.as_bytes());
        let oracle = standardwebhooks::Webhook::new(&secret_text(&key)).unwrap();
        let headers = headers(&id, &now.unix_timestamp().to_string(), &signature);
        prop_assert!(oracle.verify(body.as_bytes(), &headers).is_ok());
    }

    #[test]
    fn the_oracles_is_accepted_by_us(key in key(), (id, body, offset_s) in delivery()) {
        let timestamp = NOW.unix_timestamp() + offset_s;
        let oracle = standardwebhooks::Webhook::new(&secret_text(&key)).unwrap();
        let signature = oracle.sign(&id, timestamp, body.as_bytes()).unwrap();
        let secrets = SigningSecrets::parse(&secret_text(&key)).unwrap();
        let headers = headers(&id, &timestamp.to_string(), &signature);
        prop_assert_eq!(verify(&headers, body.as_bytes(), &secrets, NOW), Ok(Verified { id }));
    }

    #[test]
    fn case_35_any_tampered_byte_is_refused(
        key in key(),
        (id, body, offset_s) in delivery(),
        place in any::<prop::sample::Index>(),
        part in 0usize..4,
        flip in 1u8..=255,
    ) {
        let timestamp = NOW + time::Duration::seconds(offset_s);
        let secret = SigningSecret::parse(&secret_text(&key)).unwrap();
        let mut parts = [
            body.clone().into_bytes(),
            id.clone().into_bytes(),
            timestamp.unix_timestamp().to_string().into_bytes(),
            sign(&secret, &id, timestamp, body.as_bytes()).into_bytes(),
        ];
        prop_assume!(!parts[part].is_empty());
        let at = place.index(parts[part].len());
        parts[part][at] ^= flip;
        let [body, id, timestamp, signature] = parts;
        let values = [(WEBHOOK_ID, id), (WEBHOOK_TIMESTAMP, timestamp), (WEBHOOK_SIGNATURE, signature)];
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            // A text that is not a valid header value cannot arrive.
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            headers.insert(name, value);
        }
        prop_assert!(verify(&headers, &body, &SigningSecrets(vec![secret]), NOW).is_err());
    }

    #[test]
    fn case_35_another_secret_is_refused(key in key(), other in key(), (id, body, _) in delivery()) {
        prop_assume!(key != other);
        let [signer, known] = [&key, &other].map(|key| SigningSecret::parse(&secret_text(key)).unwrap());
        let signature = sign(&signer, &id, NOW, body.as_bytes());
        let headers = headers(&id, &NOW.unix_timestamp().to_string(), &signature);
        let refused = verify(&headers, body.as_bytes(), &SigningSecrets(vec![known]), NOW);
        prop_assert_eq!(refused, Err(VerifyError::Signature));
    }

    #[test]
    fn case_36_arbitrary_headers_never_panic(
        given in prop::collection::vec((0usize..3, prop::collection::vec(32u8..=255, 0..80)), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append([WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE][name], value);
            }
        }
        let secrets = SigningSecrets::parse(&secret_text(&[7; 24])).unwrap();
        prop_assert!(verify(&headers, &body, &secrets, NOW).is_err());
    }

    #[test]
    fn case_36_any_timestamp_outside_the_tolerance_is_refused(timestamp: i64) {
        prop_assume!(timestamp.abs_diff(NOW.unix_timestamp()) > 300);
        let oracle = standardwebhooks::Webhook::new(&secret_text(&[7; 24])).unwrap();
        let signature = oracle.sign("id", timestamp, b"body").unwrap();
        let secrets = SigningSecrets::parse(&secret_text(&[7; 24])).unwrap();
        let headers = headers("id", &timestamp.to_string(), &signature);
        prop_assert_eq!(verify(&headers, b"body", &secrets, NOW), Err(VerifyError::Timestamp));
    }

    #[test]
    fn arbitrary_text_as_a_secret_never_panics_and_is_not_repeated(text in "[ -~]{0,100}") {
        if let Err(error) = SigningSecrets::parse(&text) {
            prop_assert_eq!(error, SecretError);
        }
    }
}

#[test]
fn signature_of_the_standards_own_example_fits() {
    let secret = SigningSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
    let time = OffsetDateTime::from_unix_timestamp(1_649_367_553).unwrap();
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let expected = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    assert_eq!(sign(&secret, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", time, body), expected);
}

#[test]
fn secret_of_another_length_is_refused_and_none_is_printed() {
    for length in [0, 1, 23, 65, 200] {
        assert_eq!(SigningSecret::parse(&secret_text(&vec![7; length])), Err(SecretError), "{length}");
    }
    let secrets = SigningSecrets::parse(&secret_text(&[7; 24])).unwrap();
    assert_eq!(format!("{secrets:?}"), "SigningSecrets([SigningSecret(…)])");
}

#[test]
fn d15_verification_costs_one_mac_for_each_secret_however_many_signatures_are_given() {
    let texts = [secret_text(&[1; 32]), secret_text(&[2; 32])];
    let secrets = SigningSecrets::parse(&texts.join(" ")).unwrap();
    let right = sign(&SigningSecret::parse(&texts[1]).unwrap(), "e", NOW, b"body");
    let wrong = format!("v1,{}", STANDARD.encode([0; 32]));
    let timestamp = NOW.unix_timestamp().to_string();
    for (signatures, accepted) in [
        (vec![wrong.as_str(); MAX_SIGNATURES], false),
        ([vec![wrong.as_str(); MAX_SIGNATURES - 1], vec![&right]].concat(), true),
        (vec![right.as_str()], true),
    ] {
        MACS.set(0);
        let headers = headers("e", &timestamp, &signatures.join(" "));
        assert_eq!(verify(&headers, b"body", &secrets, NOW).is_ok(), accepted);
        assert_eq!(MACS.get(), 2, "{} signatures", signatures.len());
    }
}
