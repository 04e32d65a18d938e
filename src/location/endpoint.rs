//! An http(s) URL to which events are posted. Its key is a credential, and comes from the environment
//! (`OPENLINEAGE_API_KEY`). Refuses to wait for long: nobody's run depends on who listens there.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use url::Url;

const PATIENCE: Duration = Duration::from_secs(5);
const KEY: &str = "OPENLINEAGE_API_KEY";

/// Where events are posted.
#[derive(Clone)]
pub struct Endpoint(Url);

/// Hides what may be a password.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Endpoint {
    /// `path` is the path on a server, where the URL has none. Errors: what is wrong with it.
    pub fn parse(text: &str, path: &str) -> Result<Endpoint, String> {
        let mut url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(format!(
                "has the scheme {}; a file, http or https is wanted",
                url.scheme()
            ));
        }
        if url.path() == "/" {
            url.set_path(path);
        }
        Ok(Endpoint(url))
    }

    /// Without user, password and query.
    fn name(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", self.0.scheme(), self.0.path())
    }

    /// Errors: the server does not answer within seconds, or refuses it.
    pub async fn post(&self, json: String) -> Result<()> {
        let answer = self.ask(json).await.map_err(reqwest::Error::without_url);
        let status = answer.with_context(|| self.name())?;
        if !status.is_success() {
            bail!("{}: the answer is {status}", self.name());
        }
        Ok(())
    }

    async fn ask(&self, json: String) -> reqwest::Result<StatusCode> {
        #[expect(clippy::disallowed_methods, reason = "here HTTP clients are made")]
        let client = Client::builder().timeout(PATIENCE).build()?;
        let request = client.post(self.0.clone()).header(CONTENT_TYPE, "application/json");
        #[expect(clippy::disallowed_methods, reason = "credentials come from the environment")]
        let request = match std::env::var(KEY) {
            Ok(key) if !key.is_empty() => request.bearer_auth(key),
            _ => request,
        };
        Ok(request.body(json).send().await?.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_path_and_a_password_is_not_told() {
        let path = "/api/v1/lineage";
        let of = |text| Endpoint::parse(text, path).map(|endpoint| endpoint.name());
        assert_eq!(of("http://marquez:5000").unwrap(), "http://marquez:5000/api/v1/lineage");
        assert_eq!(of("https://a:b@c/events?key=d").unwrap(), "https://c/events");
        assert!(of("ftp://c").unwrap_err().contains("has the scheme ftp"));
    }
}
