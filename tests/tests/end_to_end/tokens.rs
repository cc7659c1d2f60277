//! Who may do what, with real tokens, behind the gateway's authorizer.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use crate::{
    api::Person,
    case::Case,
    content::text,
    hand_in::hand_in,
    stack::{Stack, User},
};

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A token of this header and these claims, signed with a key that only this test knows.
fn self_signed(header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let key: Hmac<Sha256> = Hmac::new_from_slice(b"a key of our own").unwrap();
    let signature = key.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl Stack {
    /// The access token of a new teacher at a new app client of this user pool.
    async fn foreign_token(&self, user_pool_id: &str) -> String {
        let name = format!("e2e-{}", Uuid::new_v4().simple());
        let flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let client = json!({ "ClientName": name, "ExplicitAuthFlows": flows });
        let client = self.cognito("CreateUserPoolClient", user_pool_id, client).await;
        let client_id = client["UserPoolClient"]["ClientId"].as_str().unwrap();
        let user = User { username: format!("{name}@lectern.example"), password: format!("{name}-A1") };
        let named = |more: Value| {
            let mut body = json!({ "Username": user.username });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        self.cognito("AdminCreateUser", user_pool_id, named(json!({ "MessageAction": "SUPPRESS" }))).await;
        let password = json!({ "Password": user.password, "Permanent": true });
        self.cognito("AdminSetUserPassword", user_pool_id, named(password)).await;
        self.cognito("AdminAddUserToGroup", user_pool_id, named(json!({ "GroupName": "teachers" }))).await;
        let flow = json!({
            "ClientId": client_id,
            "AuthFlow": "ADMIN_USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": user.username, "PASSWORD": user.password },
        });
        let answer = self.cognito("AdminInitiateAuth", user_pool_id, flow).await;
        answer["AuthenticationResult"]["AccessToken"].as_str().unwrap().to_owned()
    }

    /// The access token of a teacher of another user pool.
    async fn token_of_another_issuer(&self) -> String {
        let name = json!({ "PoolName": format!("e2e-{}", Uuid::new_v4().simple()) });
        let target = "AWSCognitoIdentityProviderService.CreateUserPool";
        let pool = crate::aws_json::call(self, "cognito-idp", target, &name).await;
        let id = pool["UserPool"]["Id"].as_str().unwrap().to_owned();
        self.cognito("CreateGroup", &id, json!({ "GroupName": "teachers" })).await;
        self.foreign_token(&id).await
    }
}

#[tokio::test]
async fn s01_only_an_access_token_of_the_pool_for_the_api_is_taken() {
    let stack = Stack::open();
    let genuine = stack.tokens(Person::Teacher).await.unwrap();
    let (header, claims) = (part(&genuine.access, 0), part(&genuine.access, 1));
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        changed
    };
    let [head, body, signature] = genuine.access.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let none = json!({ "alg": "none", "kid": header["kid"] });
    let own = json!({ "alg": "HS256", "kid": header["kid"] });
    let expired = encoded(&with("exp", 1_000_000_000.into()));
    let promoted = encoded(&with("cognito:groups", json!(["operators"])));
    let tokens = [
        ("no token", None),
        ("garbage", Some("garbage".to_owned())),
        ("dots", Some("..".to_owned())),
        ("id token", Some(genuine.id.clone())),
        ("alg none", Some(format!("{}.{body}.", encoded(&none)))),
        ("alg none with the signature", Some(format!("{}.{body}.{signature}", encoded(&none)))),
        ("no signature", Some(format!("{head}.{body}."))),
        ("own key", Some(self_signed(&own, &claims))),
        ("own key and id", Some(self_signed(&json!({ "alg": "HS256", "kid": "own" }), &claims))),
        ("own issuer", Some(self_signed(&own, &with("iss", "https://issuer.example".into())))),
        ("expired", Some(format!("{head}.{expired}.{signature}"))),
        ("other groups", Some(format!("{head}.{promoted}.{signature}"))),
        ("another client of the pool", Some(stack.foreign_token(&stack.is.user_pool_id).await)),
        ("another pool", Some(stack.token_of_another_issuer().await)),
    ];
    for (method, path) in described_routes() {
        for (what, token) in &tokens {
            let answer = stack.send_as(token.as_deref(), method.clone(), &path, &Value::Null).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}: {method} {path}");
        }
        let answer = stack.send_as(Some(&genuine.access), method.clone(), &path, &Value::Null).await;
        assert_ne!(answer.status(), StatusCode::UNAUTHORIZED, "the genuine one: {method} {path}");
    }
    assert_eq!(stack.get(Person::Teacher, "/v1/submissions").await.status(), StatusCode::OK);
}

/// Every method of every path of the API's description, with ids that nothing has.
fn described_routes() -> Vec<(Method, String)> {
    let description: Value = serde_json::from_str(include_str!("../../../docs/api.openapi.json")).unwrap();
    let of_path = |(path, methods): (&String, &Value)| {
        let path = path.replace(['{', '}'], "");
        let methods = methods.as_object().unwrap().keys().map(|name| name.to_uppercase().parse().unwrap());
        methods.map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    let routes: Vec<_> = description["paths"].as_object().unwrap().iter().flat_map(of_path).collect();
    assert!(routes.len() >= 18, "{routes:?}");
    routes
}

#[tokio::test]
async fn s01_case_52_foreign_submission_is_404_for_a_teacher_and_nobody_else_changes_it() {
    let stack = Stack::open();
    let own = hand_in(&stack, Person::Teacher, "plan.txt", &text()).await;
    stack.ready_document(&own).await;
    let foreign = hand_in(&stack, Person::SecondTeacher, "plan.txt", &text()).await;
    stack.ready_document(&foreign).await;
    let unknown = format!("/v1/submissions/{}", Uuid::new_v4().simple());
    let late = json!({ "name": "late.txt", "sizeBytes": 5 });
    // The status of: reading the own, the foreign and an unknown submission, and adding a file to each of them.
    for (person, reads, adds) in [
        (Person::Nobody, [401, 401, 401], [401, 401, 401]),
        (Person::Teacher, [200, 404, 404], [201, 404, 404]),
        (Person::Evaluator, [200, 200, 404], [403, 403, 404]),
        (Person::Operator, [200, 200, 404], [403, 403, 404]),
    ] {
        let mut answers = [Vec::new(), Vec::new()];
        for path in [&own.path, &foreign.path, &unknown] {
            answers[0].push(stack.get(person, path).await.status().as_u16());
            let added = stack.request(person, Method::POST, &format!("{path}/files"), &late).await;
            answers[1].push(added.status().as_u16());
        }
        assert_eq!(answers, [reads.to_vec(), adds.to_vec()], "{person:?}");
    }
}

#[tokio::test]
async fn answers_of_the_gateway_and_of_the_function_are_not_stored() {
    let case = Case::begin();
    let answer = case.stack.get(Person::Evaluator, "/v1/submissions?limit=1").await;
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let pages = case.stack.http.get(&case.stack.is.pages_url).send().await.unwrap();
    assert_eq!(pages.status(), StatusCode::OK, "the pages need no token");
    let policy = pages.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
}
