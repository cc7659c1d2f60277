//! Clients of the API, signed in and anonymous.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    aws_json,
    case::Upload,
    stack::{Stack, User},
};

const TEACHER: &str = "teacher@lectern.example";

/// Tokens last for an hour, longer than the tests.
static EVALUATOR_TOKEN: OnceCell<String> = OnceCell::const_new();
static TEACHER_TOKEN: OnceCell<String> = OnceCell::const_new();

/// A client of the API.
#[derive(Clone, Copy)]
pub(crate) enum Person {
    Nobody,
    Teacher,
    Evaluator,
}

impl Stack {
    pub(crate) async fn get(&self, person: Person, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.is.api_url_local));
        let request = match person {
            Person::Nobody => request,
            Person::Teacher => request.bearer_auth(TEACHER_TOKEN.get_or_init(|| self.teacher()).await),
            Person::Evaluator => {
                let token = EVALUATOR_TOKEN.get_or_init(|| self.sign_in(self.evaluator()));
                request.bearer_auth(token.await)
            }
        };
        request.send().await.unwrap()
    }

    /// Sends GET as an evaluator; fails unless the answer is 200.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = self.get(Person::Evaluator, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
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

    async fn sign_in(&self, user: User) -> String {
        let answer = self
            .cognito(
                "AdminInitiateAuth",
                json!({
                    "ClientId": self.is.user_pool_client_id,
                    "AuthFlow": "ADMIN_USER_PASSWORD_AUTH",
                    "AuthParameters": { "USERNAME": user.username, "PASSWORD": user.password },
                }),
            )
            .await;
        answer["AuthenticationResult"]["IdToken"].as_str().expect("a token").to_owned()
    }

    /// A signed-in teacher, created for this run.
    async fn teacher(&self) -> String {
        let username = format!("{}-{TEACHER}", uuid::Uuid::new_v4().simple());
        let password = format!("{}aA1-", uuid::Uuid::new_v4().simple());
        let named = json!({ "Username": username });
        self.cognito("AdminCreateUser", with(&named, &json!({ "MessageAction": "SUPPRESS" }))).await;
        let password_of = json!({ "Password": password, "Permanent": true });
        self.cognito("AdminSetUserPassword", with(&named, &password_of)).await;
        self.cognito("AdminAddUserToGroup", with(&named, &json!({ "GroupName": "teachers" }))).await;
        self.sign_in(User { username, password }).await
    }

    async fn cognito(&self, action: &str, body: Value) -> Value {
        let body = with(&body, &json!({ "UserPoolId": self.is.user_pool_id }));
        let target = format!("AWSCognitoIdentityProviderService.{action}");
        aws_json::call(self, "cognito-idp", &target, &body).await
    }
}

impl Upload {
    /// The document's path in the API.
    pub(crate) fn path(&self) -> String {
        format!("/submissions/{}/documents/{}", self.document.submission_id, self.document.document_id)
    }
}

fn with(one: &Value, other: &Value) -> Value {
    let fields = [one, other].into_iter().filter_map(Value::as_object).flatten();
    fields.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
}
