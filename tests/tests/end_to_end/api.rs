//! Clients of the API, signed in and anonymous.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    aws_json,
    case::Upload,
    stack::{Stack, User},
};

/// A client of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    Nobody,
    Teacher,
    SecondTeacher,
    Evaluator,
    Operator,
}

/// What a sign-in gives.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) id: String,
}

/// Tokens last for an hour, longer than the tests.
static TOKENS: [OnceCell<Tokens>; 4] = [const { OnceCell::const_new() }; 4];

impl Stack {
    /// The tokens of a person; `None` of nobody.
    pub(crate) async fn tokens(&self, person: Person) -> Option<&'static Tokens> {
        let people = &self.is.people;
        let (number, user) = match person {
            Person::Nobody => return None,
            Person::Teacher => (0, &people.teacher),
            Person::SecondTeacher => (1, &people.second_teacher),
            Person::Evaluator => (2, &people.evaluator),
            Person::Operator => (3, &people.operator),
        };
        Some(TOKENS[number].get_or_init(|| self.sign_in(&self.is.user_pool_client_id, user)).await)
    }

    /// Sends a request with this token.
    pub(crate) async fn send_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Response {
        let request = self.http.request(method, format!("{}{path}", self.is.api_url_local));
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let request = if body.is_null() { request } else { request.json(body) };
        request.send().await.unwrap()
    }

    /// Sends a request as a person.
    pub(crate) async fn request(&self, person: Person, method: Method, path: &str, body: &Value) -> Response {
        let token = self.tokens(person).await.map(|tokens| tokens.access.as_str());
        self.send_as(token, method, path, body).await
    }

    pub(crate) async fn get(&self, person: Person, path: &str) -> Response {
        self.request(person, Method::GET, path, &Value::Null).await
    }

    /// Sends GET as an evaluator; fails unless the answer is 200.
    pub(crate) async fn read(&self, path: &str) -> Value {
        self.read_as(Person::Evaluator, path).await
    }

    /// Sends GET as a person; fails unless the answer is 200.
    pub(crate) async fn read_as(&self, person: Person, path: &str) -> Value {
        let answer = self.get(person, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// Sends POST as a person; fails unless the answer is a success.
    pub(crate) async fn post(&self, person: Person, path: &str, body: &Value) -> Value {
        let answer = self.request(person, Method::POST, path, body).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status}: {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    pub(crate) async fn record(&self, upload: &Upload) -> Value {
        self.read(&format!("{}/record", upload.path())).await
    }

    /// Downloads from a presigned URL of the API, as a browser would.
    pub(crate) async fn download(&self, url: &str) -> Vec<u8> {
        let answer = self.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
        answer.bytes().await.unwrap().to_vec()
    }

    /// Signs in at an app client of the user pool.
    pub(crate) async fn sign_in(&self, client_id: &str, user: &User) -> Tokens {
        let parameters = json!({ "USERNAME": user.username, "PASSWORD": user.password });
        let flow = json!({ "ClientId": client_id, "AuthFlow": "ADMIN_USER_PASSWORD_AUTH", "AuthParameters": parameters });
        let answer = self.cognito("AdminInitiateAuth", &self.is.user_pool_id, flow).await;
        let token = |name: &str| answer["AuthenticationResult"][name].as_str().expect("a token").to_owned();
        Tokens { access: token("AccessToken"), id: token("IdToken") }
    }

    /// Calls Cognito for a user pool.
    pub(crate) async fn cognito(&self, action: &str, user_pool_id: &str, mut body: Value) -> Value {
        body["UserPoolId"] = user_pool_id.into();
        let target = format!("AWSCognitoIdentityProviderService.{action}");
        aws_json::call(self, "cognito-idp", &target, &body).await
    }
}

impl Upload {
    /// The document's path in the API.
    pub(crate) fn path(&self) -> String {
        format!("/v1/submissions/{}/documents/{}", self.document.submission_id, self.document.document_id)
    }
}
