//! What `tools/local/ministack.py` adds to `MiniStack`.

use reqwest::{Method, StatusCode};

use super::stack::Stack;

#[tokio::test]
async fn s08_web_page_cannot_reach_the_local_cloud() {
    let stack = Stack::open();
    let callback = format!("{}/callbacks/unknown", stack.is.callback_base_url);
    for (method, url) in
        [(Method::POST, &stack.is.endpoint), (Method::GET, &stack.is.endpoint), (Method::POST, &callback)]
    {
        for (header, value) in
            [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
        {
            let request = stack.http.request(method.clone(), url).header("content-type", "text/plain");
            let answer = request.header(header, value).body("{}").send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {url} {header}: {value}");
        }
    }
    let answer = stack.http.post(&callback).header("sec-fetch-site", "none").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "a request of no web page reaches the function");
}
